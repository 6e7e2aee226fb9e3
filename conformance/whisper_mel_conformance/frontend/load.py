"""The definition of a front-end, and the ways to find and load one.

A front-end is an object with ``log_mel(audio, n_mels=80, *, pad_to=None, smoothing=None,
maximum="clip", dtype="float32", out=None, threads=None)``, a factory of such an object, or a
function ``f(audio, n_mels=80)``. An object may have ``stream(n_mels=80, *, maximum="clip")`` and
``with_lengths(audio, lengths, n_mels=80)``, too. It declares what it cannot do in ``capabilities``,
by leaving out the parameter, or by raising ``NotImplementedError``.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import itertools
import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from whisper_mel_conformance.frontend.command import COMMAND_PREFIX, CommandFrontEnd

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "whisper_mel.frontends"
PEERS = Path(__file__).parents[1] / "peers"
PEERS_PACKAGE = "whisper_mel_conformance.peers"
MAXIMA = ("clip", "fixed", "chunk")
"""The kinds of maximum that a front-end can claim."""

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "smoothing": (None, "valid", "same"),
    "dtypes": ("float32", "float64", "int16"),
    "out_dtypes": ("float32", "float16", "bfloat16"),
    "errors": ("strict", None),
    "required_class": ("A", "B"),
}


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """The features that a front-end claims to have, which it is judged by.

    Attributes
    ----------
    n_mels : supported numbers of bands.
    smoothing : supported values, of None, ``"valid"`` and ``"same"``.
    pad_to : whether it takes ``pad_to``.
    maximum : what it takes as ``maximum``: ``"clip"``, ``"chunk"``, ``"fixed"`` (any number), or
    single numbers.
    out_dtypes : supported dtypes of the features: ``"float32"``, ``"float16"``, ``"bfloat16"``.
    stream : the values of ``maximum`` that its ``stream`` takes, in the same words; empty without
    one.
    lengths : whether it has ``with_lengths``, which says how many frames of each clip are valid.
    dtypes : supported dtypes of the audio: ``"float32"``, ``"float64"``, ``"int16"``.
    batch : whether it takes audio of shape ``(batch, n)``.
    max_samples : the number of samples of the longest clip that it takes, or None without a limit.
    multiple_of : what a clip's number of samples, with the zeros of ``pad_to``, is a multiple of.
    errors : ``"strict"`` if it promises the error policy of docs/specification.md ("ours"), or
    None.
    out : whether it takes ``out``, an array to write the features to.
    threads : whether it takes ``threads``, the number of threads to use.
    required_class : the class that it must reach: ``"A"`` or ``"B"``.
    process_per_call : whether each call starts a process, so that repeated calls show little.
    own_process : whether it computes in a process of its own, as programs do, so that the state of
    the calling process means nothing to it.
    forks : whether a forked child of a process that has called it may call it, too.
    model : what the model that it is judged by fixes: its ``name``, and ``n_mels``, ``maximum`` and
    ``pad_to`` as in ``FrontEndSpec``; None if it is judged by Whisper's front-end.
    """

    n_mels: tuple[int, ...] = (80,)
    smoothing: tuple[str | None, ...] = (None,)
    pad_to: bool = False
    maximum: tuple[str | float, ...] = ("clip",)
    out_dtypes: tuple[str, ...] = ("float32",)
    stream: tuple[str | float, ...] = ()
    lengths: bool = False
    dtypes: tuple[str, ...] = ("float32",)
    batch: bool = False
    max_samples: int | None = None
    multiple_of: int = 1
    errors: str | None = None
    out: bool = False
    threads: bool = False
    required_class: str = "B"
    process_per_call: bool = False
    own_process: bool = False
    forks: bool = True
    model: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("n_mels", "smoothing", "dtypes", "maximum", "out_dtypes", "stream"):
            object.__setattr__(self, name, _few(f"capabilities: {name}", getattr(self, name)))
        object.__setattr__(self, "n_mels", tuple(_whole("n_mels", n) for n in self.n_mels))
        if self.max_samples is not None:
            object.__setattr__(self, "max_samples", _whole("max_samples", self.max_samples))
        object.__setattr__(self, "multiple_of", _whole("multiple_of", self.multiple_of))
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if item not in allowed:
                    raise ValueError(f"capabilities: {name}={value!r}: expected of {allowed}")
        for name in (
            *("pad_to", "batch", "lengths", "out", "threads"),
            *("process_per_call", "own_process", "forks"),
        ):
            if type(getattr(self, name)) is not bool:
                value = getattr(self, name)
                raise ValueError(f"capabilities: {name}={value!r}: expected True or False")
        for name in ("maximum", "stream"):
            value = getattr(self, name)
            if any(kind not in MAXIMA and type(kind) not in (int, float) for kind in value):
                raise ValueError(f"capabilities: {name}={value!r}: expected of {MAXIMA} or numbers")
        for name, least in (
            *(("n_mels", None), ("smoothing", None), ("maximum", None)),
            *(("dtypes", "float32"), ("out_dtypes", "float32")),
        ):
            value = getattr(self, name)
            if not value or (least is not None and least not in value):
                what = "at least one value" if least is None else f"{least} among them"
                raise ValueError(f"capabilities: {name}={value!r}: expected {what}")

    @property
    def single_clips(self) -> bool:
        return not self.batch

    @property
    def in_process(self) -> bool:
        return not self.process_per_call

    @property
    def same_process(self) -> bool:
        return not self.own_process


_MOST = 1000


def _few(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return values, which a front-end may give without end; raise ``ValueError`` for too many."""
    few = tuple(itertools.islice(values, _MOST + 1))
    if len(few) > _MOST:
        raise ValueError(f"{name}: more than {_MOST} values: expected at most that")
    return few


def _whole(name: str, value: Any) -> int:
    """Convert a number from 1 up to ``int``; raise ``ValueError`` for others."""
    try:
        whole = operator.index(value)
    except TypeError:
        whole = 0
    if isinstance(value, bool) or whole < 1:
        raise ValueError(f"capabilities: {name}={value!r}: expected whole numbers from 1 up")
    return whole


class UnknownFrontEnd(ValueError):
    """A name, path or command that leads to no front-end; the message says what exists."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A front-end ready to be called.

    ``n_mels_as`` says how it takes the number of bands: ``"keyword"``; ``"positional"`` (its
    signature is unknown); or None, it does not take it. ``stream`` and ``with_lengths`` are None if
    it has none. ``implied`` has the options that it does not take, with the values that it is
    judged by: those of its model.
    """

    name: str
    device: str
    capabilities: Capabilities
    log_mel: Callable[..., Any]
    n_mels_as: str | None
    versions: Mapping[str, str]
    stream: Callable[..., Any] | None = None
    with_lengths: Callable[..., Any] | None = None
    implied: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def call(self, audio: Any, n_mels: int = 80, **options: Any) -> Any:
        """Call the front-end; leave out options that are None, or implied."""
        given = {
            name: value
            for name, value in options.items()
            if value is not None and not (name in self.implied and value == self.implied[name])
        }
        if self.n_mels_as == "keyword":
            return self.log_mel(audio, n_mels=n_mels, **given)
        if self.n_mels_as == "positional":
            return self.log_mel(audio, n_mels, **given)
        return self.log_mel(audio, **given)

    def begin(self, **options: Any) -> Any:
        """Begin a stream with those of the options that ``stream`` takes and that are not None."""
        assert self.stream is not None
        takes = _parameters(self.stream) or {}
        return self.stream(
            **{name: v for name, v in options.items() if name in takes and v is not None}
        )


@lru_cache(maxsize=1)  # a report asks for every failure
def registered() -> dict[str, EntryPoint]:
    """Return the entry points of front-ends by name; a peer's name always means its adapter."""
    from importlib.metadata import EntryPoint, entry_points  # a third of the start of a process

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    for name in _adapters():
        value = f"{PEERS_PACKAGE}.{name.replace('-', '_')}:front_end"
        found[name] = EntryPoint(name, value, GROUP)
    return found


@lru_cache(maxsize=1)
def _adapters() -> dict[str, str]:
    """Return the text of each adapter, which is not imported, by the name of its peer.

    Adapters are the modules and folders of the package ``peers`` that define a ``front_end``.
    """
    found = {}
    for path in sorted(PEERS.iterdir(), key=lambda path: path.stem):
        module = path / "__init__.py" if path.is_dir() else path
        is_module = module.suffix == ".py" and module.is_file()
        text = module.read_text(encoding="utf-8") if is_module else ""
        if re.search(r"^front_end = ", text, re.MULTILINE):
            found[path.stem.replace("_", "-")] = text
    return found


def peers(which: str = "all") -> list[str]:
    """List the names of the peers: front-ends in the wild that this distribution has adapters for.

    ``which`` is ``"all"``, ``"light"`` (peers that every run judges, as their adapters say) or
    ``"none"``.
    """
    wanted = {"all": r"", "light": r"^LIGHT = True$", "none": r"(?!)"}[which]
    return [name for name, text in _adapters().items() if re.search(wanted, text, re.MULTILINE)]


def model_of(source: str) -> str | None:
    """Return the model that a peer is judged by, as its adapter says; None for Whisper's front-end.

    Other front-ends are judged by what the user names.
    """
    said = re.search(r'^MODEL = "(.+)"$', _adapters().get(source, ""), re.MULTILINE)
    return said[1] if said else None


def needs_trust(source: str) -> bool:
    """Whether it names code by a path, a module or a command, which a stranger may have chosen.

    Registered names and the suite's own quirks are what the user has installed.
    """
    return source not in registered() and not source.startswith("whisper_mel_conformance.quirks:")


def require_known(source: str) -> None:
    """Raise ``UnknownFrontEnd`` unless ``source`` leads to a front-end; load nothing."""
    if source.startswith(COMMAND_PREFIX):
        CommandFrontEnd(source[len(COMMAND_PREFIX) :])
        return
    if ":" not in source:
        if source.endswith(".py"):
            raise UnknownFrontEnd(
                f"front-end {source!r}: expected {source}:NAME, with the name of what is in it"
            )
        names = registered()
        if source not in names:
            raise UnknownFrontEnd(
                f"front-end {source!r}: no such name. Registered are "
                f"{', '.join(sorted(names)) or 'none'}; or give package.module:attribute, "
                "path/to/file.py:attribute or cmd:'./prog {in} {out} {n_mels}'"
            )
        return
    module, _, attribute = source.rpartition(":")
    if not attribute:
        raise UnknownFrontEnd(f"front-end {source!r}: expected an attribute after the colon")
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise UnknownFrontEnd(f"front-end {source!r}: there is no file {module}")
        return
    # Nothing is imported here, in the judging process: not even a package to look for its modules.
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
    except ValueError:  # of this process's own __main__
        found = None
    if found is None:
        raise _no_module(source, module)


def _no_module(source: str, module: str) -> UnknownFrontEnd:
    return UnknownFrontEnd(f"front-end {source!r}: there is no module {module} on sys.path")


def load(source: str, model: Mapping[str, Any] | None = None) -> Loaded:
    """Load the front-end that ``source`` names, to be judged by ``model``.

    Raises whatever its code raises, and ``UnknownFrontEnd`` if it cannot be the model's.
    """
    return inspect_front_end(_found(source), source, model)


def _found(source: str) -> Any:
    """Return the object that ``source`` names."""
    if source.startswith(COMMAND_PREFIX):
        return CommandFrontEnd(source[len(COMMAND_PREFIX) :])
    if ":" not in source:
        return registered()[source].load()
    name, _, attribute = source.rpartition(":")
    module = _load_file(Path(name)) if name.endswith(".py") else _import(source, name)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            public = [n for n in dir(value) if not n.startswith("_")]
            raise UnknownFrontEnd(
                f"front-end {source!r}: {name} has no {part}; it has {', '.join(public)}"
            )
        value = getattr(value, part)
    return value


def _import(source: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _no_module(source, name) from error
        raise  # what the module itself imports


def _as_of(loaded: Loaded, model: Mapping[str, Any]) -> Loaded:
    """Return the front-end as that of a model, which fixes bands, maximum and padding.

    What the front-end takes as an option is asked of it; the rest it has to do by itself.
    """
    able, name = loaded.capabilities, model["name"]
    implied: dict[str, Any] = {}
    if loaded.n_mels_as is not None and model["n_mels"] not in able.n_mels:
        raise UnknownFrontEnd(
            f"model={name!r} has {model['n_mels']} bands: front-end {loaded.name!r} claims "
            f"n_mels={able.n_mels}"
        )
    maximum, stream, longest = able.maximum, able.stream, able.max_samples
    if not is_among(model["maximum"], maximum):
        implied["maximum"], maximum = model["maximum"], (model["maximum"],)
    if stream and not is_among(model["maximum"], stream):
        stream = (model["maximum"],)
    if model["pad_to"] is not None:
        longest = min(longest or model["pad_to"], model["pad_to"])
        if not able.pad_to:
            implied["pad_to"] = model["pad_to"]
    able = dataclasses.replace(
        able,
        n_mels=(model["n_mels"],),
        maximum=maximum,
        stream=stream,
        max_samples=longest,
        model=dict(model),
    )
    return dataclasses.replace(loaded, capabilities=able, implied=implied)


def is_among(maximum: str | float | None, claimed: Sequence[str | float]) -> bool:
    """Return whether a value of ``maximum`` (None: the clip's) is among those that are claimed."""
    if maximum is None or isinstance(maximum, str):
        return (maximum or "clip") in claimed
    return "fixed" in claimed or maximum in claimed


def _load_file(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def inspect_front_end(value: Any, source: str, model: Mapping[str, Any] | None = None) -> Loaded:
    """Create a front-end from an object, a factory (no required parameter) or a function.

    It is judged by ``model``, if one is given; see :class:`Capabilities`.
    """
    is_factory = isinstance(value, type) or not (hasattr(value, "log_mel") or _required(value))
    if callable(value) and is_factory:
        value = value()
    is_object = hasattr(value, "log_mel")
    log_mel = value.log_mel if is_object else value
    if not callable(log_mel):
        raise TypeError(
            f"front-end {source!r} is {type(value).__name__}: expected an object with log_mel, "
            "a factory of one, or a function f(audio, n_mels=80)"
        )
    declared = getattr(value, "capabilities", {}) if is_object else {}
    if dataclasses.is_dataclass(declared):
        declared = {f.name: getattr(declared, f.name) for f in dataclasses.fields(declared)}
    parameters = _parameters(log_mel)
    if parameters is None:
        n_mels_as = "positional" if "n_mels" in declared else None
    else:
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        takes_it = "n_mels" in parameters or (takes_any and "n_mels" in declared)
        n_mels_as = "keyword" if takes_it else None
        if not takes_any:
            _require_parameters(parameters, declared)
    device = str(getattr(value, "device", "cpu"))
    stream, with_lengths = (
        method if is_object and callable(method := getattr(value, name, None)) else None
        for name in ("stream", "with_lengths")
    )
    offered = _offered(parameters or {}, None if stream is None else _parameters(stream) or {})
    offered["lengths"] = with_lengths is not None
    versions = getattr(value, "versions", {})
    pairs = versions.items() if isinstance(versions, Mapping) else versions
    loaded = Loaded(
        name=str(getattr(value, "name", source)) if is_object else source,
        device=device,
        capabilities=_capabilities({**offered, "forks": device == "cpu"}, declared),
        log_mel=log_mel,
        n_mels_as=n_mels_as,
        versions=dict(itertools.islice(pairs, _MOST)),
        stream=stream,
        with_lengths=with_lengths,
    )
    return loaded if model is None else _as_of(loaded, model)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters by name; None for built-in functions without a signature."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def _required(function: Callable[..., Any]) -> bool:
    """Return whether a parameter is required, as for a function of audio but not for a factory."""
    parameters = _parameters(function)
    if parameters is None:
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.default is p.empty and p.kind in kinds for p in parameters.values())


def _capabilities(offered: Mapping[str, Any], declared: Mapping[str, Any]) -> Capabilities:
    """Combine the declared capabilities with those that signatures offer."""
    known = [field.name for field in dataclasses.fields(Capabilities)]
    for name in declared:
        if name not in known:
            raise ValueError(f"capabilities: {name!r} is unknown: expected of {', '.join(known)}")
    if declared.get("model") is not None:
        raise ValueError("capabilities: model: only the user says by which one it is judged")
    return Capabilities(**{**offered, **declared})


_PARAMETERS = {"out_dtypes": "dtype"} | {
    name: name for name in ("smoothing", "pad_to", "maximum", "out", "threads")
}
"""For each capability the parameter of ``log_mel`` that it needs."""


def _require_parameters(parameters: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Require that a function without ``**options`` takes what is declared.

    Raises ``ValueError``.
    """
    without = _offered({}, None)
    for name, parameter in _PARAMETERS.items():
        value, default = declared.get(name), without[name]
        value = tuple(value) if isinstance(value, (list, tuple)) else value
        if value and value != default and parameter not in parameters:
            raise ValueError(
                f"capabilities: {name}={value!r}: log_mel has no parameter {parameter!r}: expected "
                f"one, or {name}={default!r}"
            )


def _offered(log_mel: Mapping[str, Any], stream: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the capabilities that the parameters of ``log_mel`` and of ``stream`` offer."""
    return {
        "n_mels": (80, 128) if "n_mels" in log_mel else (80,),
        "smoothing": (None, "valid", "same") if "smoothing" in log_mel else (None,),
        "pad_to": "pad_to" in log_mel,
        "maximum": MAXIMA if "maximum" in log_mel else ("clip",),
        "out_dtypes": _ALLOWED["out_dtypes"] if "dtype" in log_mel else ("float32",),
        "stream": () if stream is None else ("clip", "fixed") if "maximum" in stream else ("clip",),
        "out": "out" in log_mel,
        "threads": "threads" in log_mel,
    }
