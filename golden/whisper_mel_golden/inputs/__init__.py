"""The inputs of the goldens: what each is for, how it is rendered, what is computed from it.

Each module here is a table. ``make`` writes the inputs and openai-whisper's features of them into
the manifest; ``verify`` compares the two. An id is permanent: a changed recipe gets a new id.
"""

from whisper_mel_golden.inputs import lengths, noise, speech, tonal, transients
from whisper_mel_golden.inputs.entry import FLAGS, N_MELS, SECOND, Input, case_variants
from whisper_mel_golden.inputs.speech import RECORDINGS

__all__ = ["FLAGS", "INPUTS", "N_MELS", "RECORDINGS", "SECOND", "Input", "case_variants"]

INPUTS: dict[str, Input] = {
    entry.id: entry
    for table in (speech, noise, tonal, transients, lengths)
    for entry in table.INPUTS
}
"""Every input by its id."""
