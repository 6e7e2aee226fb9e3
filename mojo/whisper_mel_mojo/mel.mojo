"""The kernel as a Python module that Mojo's importer compiles: this file beside `mel_kernel.mojo`,
then `import mojo.importer, mel` (docs/using.md)."""

from std.os import abort
from std.python import Python, PythonObject
from std.python.bindings import PythonModuleBuilder

from mel_kernel import OK, whisper_mel_log_mel, whisper_mel_message


@export
def PyInit_mel() abi("C") -> PythonObject:
    try:
        var module = PythonModuleBuilder("mel")
        module.def_function[log_mel]("log_mel")
        return module.finalize()
    except error:
        abort(String("mel cannot be made: ", error))


def log_mel(audio: PythonObject, n_mels: PythonObject) raises -> PythonObject:
    """Float32 features of shape (n_mels, n // 160) of a float32 NumPy array of shape (n,)."""
    var numpy = Python.import_module("numpy")
    var samples = numpy.ascontiguousarray(audio)
    if String(py=samples.dtype) != "float32" or Int(py=samples.ndim) != 1:
        raise Error(
            "audio has dtype ",
            String(py=samples.dtype),
            " and shape ",
            String(py=samples.shape),
            ": expected float32 and (n,)",
        )
    var n = Int(py=samples.size)
    var bands = Int(py=n_mels)
    var out_ = numpy.empty(Python.tuple(max(bands, 0), n // 160), numpy.float32)
    var status = whisper_mel_log_mel(
        Int(py=samples.ctypes.data),
        0,
        1,
        n,
        n,
        0,
        bands,
        0,
        Int(py=out_.ctypes.data),
        Int(py=out_.size),
        1,
        0,
        0,
    )
    _ = samples^  # lives until here: the kernel has its address only
    if status != OK:
        var text = Python.import_module("ctypes").string_at(whisper_mel_message(status))
        raise Error("log_mel: ", String(py=text.decode()))
    return out_
