"""The command ``./dev worst``, which replays and searches the worst inputs of front-ends."""

from __future__ import annotations

import argparse
import datetime

from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import model_of, peers
from whisper_mel_conformance.run.setup import fixed_by

from worst import inputs


def run(arguments: list[str]) -> int:
    """Search for every named front-end; return 1 if one could not be asked."""
    parser = argparse.ArgumentParser(prog="./dev worst")
    parser.add_argument("name", nargs="*")
    parser.add_argument("--steps", type=int, default=inputs.STEPS)
    parser.add_argument("--seed", type=int, default=inputs.SEED)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args(arguments)
    missing = 0
    for name in options.name or peers():
        # How long a call takes is not what is searched: half an hour is a guard against hanging.
        front_end = FrontEnd(name, timeout=1800.0, model=fixed_by(model_of(name)))
        try:
            front_end.start()
            found = _found(front_end, options.steps, options.seed)
        except (Failure, Refused, ValueError) as error:
            print(f"{name}: {error}")
            missing += 1
            continue
        finally:
            front_end.stop()
        print(f"{name} {found.version}: {found.score:.3g} by {found.input}", flush=True)
        if options.record:
            inputs.write(inputs.with_entry(inputs.read(), found))
    return 1 if missing else 0


def _found(front_end: FrontEnd, steps: int, seed: int) -> inputs.Worst:
    """Replay what is kept of all versions, then search."""
    kept = [it for it in inputs.read() if it.front_end == front_end.source]
    score, asked = inputs.find(front_end, [it.input for it in kept], steps, seed)
    version, today = inputs.version_of(front_end), datetime.date.today().isoformat()
    days = [it.found for it in kept if (it.version, it.input) == (version, asked)]
    return inputs.Worst(front_end.source, version, score, asked, (days or [today])[0])
