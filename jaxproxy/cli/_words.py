"""What commands say in words: requests, settings, speed, the catalogue (host code)."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass
from datetime import timedelta
from typing import Any

from jaxproxy.analysis import ENSEMBLES, Ablation
from jaxproxy.options import choices_of
from jaxproxy.proxies import PROXIES, Proxy
from jaxproxy.runs import Run, Status
from jaxproxy.scoring import Scorer
from jaxproxy.spaces import SPACES, Space

_MANY = 500  # proxies that take minutes to trace and compile


def request(scorer: Scorer, num: int, with_images: bool) -> Iterator[str]:
    """What is about to be scored, and what the user may not expect."""
    where = f"{scorer.num_devices} device{'s' * (scorer.num_devices > 1)}"
    yield f"{num} architectures of {scorer.space.name} on {where}"
    if len(scorer.proxies) >= _MANY:
        yield (
            f"{len(scorer.proxies)} proxies are compiled as one program, which may "
            "take minutes"
        )
    users = [
        p.name
        for p in scorer.proxies
        if any(meter.setup.inputs == "images" for meter in p.meters)
    ]
    if users and not with_images:
        yield f"no --images: 64 grey images, dark to light, for {', '.join(users)}"
    elif with_images and not users:
        yield "no proxy uses the images: they take Gaussian noise"


def settings(run: Run) -> str:
    """Fidelity and seeds of a run, in words."""
    scorer = run.manifest["scorer"]
    seeds = f"{len(scorer['seeds'])} seed{'s' * (len(scorer['seeds']) > 1)}"
    return f"fidelity {_words(scorer['fidelity'])}; {seeds}"


def speed(num: int, finished: int, seconds: float) -> str:
    """How fast ``num`` architectures went, of which some were ``finished`` before."""
    new = num - finished
    before = f", {finished} of them before" if finished else ""
    rate = f"{new} in {seconds:.1f} s, {new / seconds:.4g} a second with compilation"
    return f"{num} architectures scored{before}; {rate}"


def catalogue() -> Iterator[str]:
    """Lines that list proxies, ensembles, spaces and presets."""
    yield "proxies, with defaults and choices of options; write name(option=value,...)"
    for name, factory in PROXIES.items():
        yield f"  {name}{_options(factory)}"
        for option, values in choices_of(factory).items():
            yield f"      {option}: {' '.join(map(str, values))}"
        yield f"      {factory().reference}"
    yield "ensembles of ranks, which a run with their components shows"
    for name, ensemble in ENSEMBLES.items():
        yield f"  {name}: {' '.join(ensemble.components)}"
        yield f"      {ensemble.reference}"
    yield "spaces"
    for name, make in SPACES.items():
        space = make()
        what = "codes, not all valid" if space.constraint else "architectures"
        num = space.num_archs
        yield f"  {name}{_options(make)}: {num if num < 1e12 else f'{num:.1e}'} {what}"
        for preset, fidelity in space.presets.items():
            yield f"      {preset}: {_words(asdict(fidelity))}"


def _words(fidelity: dict[str, int | str]) -> str:
    shown = {k: v for k, v in fidelity.items() if v != "float32"}
    return ", ".join(f"{k.replace('_', ' ')} {value}" for k, value in shown.items())


def _options(factory: Callable[..., Proxy | Space]) -> str:
    def write(value: Any) -> str:
        return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)

    options = inspect.signature(factory).parameters.values()
    text = ",".join(f"{option.name}={write(option.default)}" for option in options)
    return f"({text})" if text else ""


def ablation_to_json(found: Ablation) -> dict[str, Any]:
    """Returns an ablation as JSON, with each record's options beside its numbers."""
    records = [
        {**record._asdict(), "options": found.options[record.proxy]}
        for record in found.records
    ]
    rest = {"left_out": found.left_out, "num_left_out": found.num_left_out}
    return {"records": to_json(records), **rest}


def how_far(status: Status) -> str:
    """How much of a run is done, how fast it goes and how long it takes."""
    total = "" if status.num_archs is None else f" of {status.num_archs}"
    parts = "" if status.num_parts is None else f" of {status.num_parts}"
    line = (
        f"{status.done_archs}{total} architectures in {status.done_parts}{parts} parts"
    )
    if status.num_archs is not None and status.done_archs >= status.num_archs:
        return f"{line}: finished"
    if not math.isfinite(status.rate):
        return f"{line}; no worker says that it is at work"
    left = timedelta(seconds=round(status.seconds_left))
    return f"{line}; {status.rate:.3g} a second, {left} left at that rate"


def to_json(value: Any) -> Any:
    """Returns plain records, with None for NaN and infinity, which JSON lacks."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
