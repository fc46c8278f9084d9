"""What one section's model cannot see: conditions between sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from squeeze.budget import BudgetSection
from squeeze.data.config import DataSection, Source, source_key, split_name_fault
from squeeze.distillation.config import DistilSection, Phase, phase_faults
from squeeze.errors import ProfileError
from squeeze.profile.model import Profile
from squeeze.profile.paths import homeless
from squeeze.profile.problems import Place, Problem, nearest
from squeeze.stages.export.stage import QUANTIZERS
from squeeze.stages.prune.stage import PruneSection
from squeeze.stages.quantize.stage import SCHEMES, QuantizeSection
from squeeze.stages.search.space import embedding_of, size, space_of
from squeeze.stages.search.stage import CARVED_SCORES, LABEL_SCORES, MOST_CANDIDATES, PREDICTED
from squeeze.tasks import DEFAULT, Task, task_of
from squeeze.tasks.labels import LabelledTask

__all__ = ["check"]

NEEDS = {
    "search": ("distil", "a chosen student has to learn"),
    "distil": ("teacher", "a student learns from a teacher"),
    "prune": ("teacher", "a cut model recovers from a teacher"),
    "quantize": ("distil or prune", "there is no student to quantize without it"),
    "export": ("distil or prune", "there is no student to export without it"),
    "bench": ("export", "there is no file to measure without it"),
    "budget": ("bench", "there is no figure to judge without it"),
}

MOST_HELD_OUT = 0.9
"""Share of the rows that a split may take away from training."""


def check(profile: Profile) -> list[Problem]:
    """All conditions between sections that do not hold."""
    return [
        *_missing_sections(profile),
        *_label_maps(profile),
        *_homes(profile),
        *_data(profile),
        *_student(profile),
        *_engine(profile),
        *_quantizer(profile),
        *_phases(profile),
        *_search(profile),
        *_budget(profile),
    ]


def _missing_sections(profile: Profile) -> Iterator[Problem]:
    for section, (needed, why) in NEEDS.items():
        either = needed.split(" or ")
        if getattr(profile, section) is not None and not any(getattr(profile, name) for name in either):
            named = " or ".join(f"[{name}]" for name in either)
            yield Problem((section,), f"needs a section {named}: {why}", table=True)


def _label_maps(profile: Profile) -> Iterator[Problem]:
    place, shared = ("task", "label_map"), profile.task.label_map
    members = profile.teacher.models if profile.teacher else ()
    for key, label in shared.items():
        yield from _mapped((*place, key), label, profile)
    if shared and profile.teacher is None:
        yield Problem(place, "has no effect without [teacher]: it maps a teacher's labels")
    if shared and members and all(member.label_map is not None for member in members):
        yield Problem(place, "has no effect: every teacher has a label_map of its own")
    for number, member in enumerate(members):
        for key, label in (member.label_map or {}).items():
            yield from _mapped(("teacher", "models", number, "label_map", key), label, profile)


def _mapped(place: tuple[str | int, ...], label: str, profile: Profile) -> Iterator[Problem]:
    labels = profile.task.labels
    if label not in labels:
        close = nearest(label, labels)
        known = f"nearest: {close}" if close else ", ".join(labels)
        yield Problem(place, f"{label!r} is not one of [task] labels ({known})")


def _homes(profile: Profile) -> Iterator[Problem]:
    for place, name in _paths(profile):
        if homeless(name):
            user = name.removeprefix("hf:").split("/", 1)[0]
            yield Problem(place, f"{user!r} names no user of this machine, got {name!r}")


def _paths(profile: Profile) -> Iterator[tuple[Place, str]]:
    """Whatever may be a path, and where it stands."""
    data, teacher = profile.data, profile.teacher
    sources: dict[Place, Source | str | None] = {
        ("data", "train"): data.train,
        ("data", "validation"): data.validation,
        ("data", "test"): data.test,
    }
    sources |= {("data", "more_tests", name): source for name, source in data.more_tests.items()}
    sources |= {("data", "unlabelled", number): source for number, source in enumerate(data.unlabelled)}
    for place, source in sources.items():
        if source is not None:
            yield (place, source) if isinstance(source, str) else ((*place, "name"), source.name)
    if teacher is not None and teacher.model is not None:
        yield ("teacher", "model"), teacher.model
    for number, member in enumerate(teacher.models if teacher else ()):
        yield ("teacher", "models", number, "model"), member.model
    if profile.student.path is not None:
        yield ("student", "path"), profile.student.path


def _data(profile: Profile) -> Iterator[Problem]:
    data = profile.data
    for name in data.more_tests:
        fault = split_name_fault(name)
        if fault:
            yield Problem(("data", "more_tests", name), fault)
    train = source_key("train", data.train, data)
    held_out: dict[Place, Source | str | None] = {("validation",): data.validation, ("test",): data.test}
    held_out |= {("more_tests", name): source for name, source in data.more_tests.items()}
    for place, source in held_out.items():
        if source is not None and source_key(str(place[-1]), source, data) == train:
            message = "the training text, and a figure on it says nothing; name text that is not trained on"
            yield Problem(("data", *place), f"{train[0]} is {message}")
    yield from _split(data)
    pool = [source_key("unlabelled", source, data) for source in data.unlabelled]
    for number, key in enumerate(pool):
        if key in pool[:number]:
            yield Problem(("data", "unlabelled", number), f"{key[0]} stands twice")


def _split(data: DataSection) -> Iterator[Problem]:
    """Either validation and test, or a split that makes them."""
    for slot in ("validation", "test"):
        given = getattr(data, slot) is not None
        meaning = DataSection.model_fields[slot].description
        if data.split is None and not given:
            yield Problem(("data", slot), f"missing ({meaning})")
        elif data.split is not None and given:
            yield Problem(("data", slot), "[data] split makes it out of train; name one or the other")
    if data.split is not None and data.split.validation + data.split.test >= MOST_HELD_OUT:
        message = f"validation and test must be below {MOST_HELD_OUT:g} of the rows together"
        got = f"{data.split.validation:g} + {data.split.test:g}"
        yield Problem(("data", "split"), f"{message}, got {got}")


def _student(profile: Profile) -> Iterator[Problem]:
    positions, length = profile.student.max_positions, profile.task.max_length
    if positions is not None and positions < length:
        message = f"must be at least [task] max_length = {length}, got {positions}"
        yield Problem(("student", "max_positions"), message)
    layers = profile.student.layers
    if isinstance(layers, tuple) and min(layers) < 0:
        yield Problem(("student", "layers"), f"layers are counted from 0, got {min(layers)}")
    cut = profile.prune.layers if profile.prune else None
    if isinstance(cut, tuple) and min(cut) < 0:
        yield Problem(("prune", "layers"), f"layers are counted from 0, got {min(cut)}")


def _engine(profile: Profile) -> Iterator[Problem]:
    export = profile.export
    if export is None or export.tensorrt is None:
        return
    form = export.tensorrt.form
    if form not in export.forms:
        message = f"{export.tensorrt.precision} is made from {form}, which [export] forms must name"
        yield Problem(("export", "tensorrt", "precision"), message)


def _quantizer(profile: Profile) -> Iterator[Problem]:
    export = profile.export
    if export is None or export.quantizer not in QUANTIZERS:
        return
    able, name = QUANTIZERS[export.quantizer], export.quantizer
    trained = profile.quantize.scheme if profile.quantize else None
    left = [form for form in export.forms if form.startswith("int8") and form != trained]
    place = ("export", "quantizer")
    if not left:
        lacking = "[export] forms names no int8 form that [quantize] does not make"
        yield Problem(place, f"{name} would have nothing to make: {lacking}")
    for form in left:
        if form not in able.forms:
            yield Problem(place, f"{name} makes {' and '.join(able.forms)}, and [export] forms names {form}")
    if "int8-static" in left and export.calibration not in able.calibration:
        known = ", ".join(able.calibration)
        message = f"{name} cuts ranges by one of {known}, got {export.calibration!r}"
        yield Problem(("export", "calibration"), message)


def _trainings(section: DistilSection | PruneSection | QuantizeSection | None) -> Sequence[Phase]:
    """The phases of a section; of [quantize] also the one by default, whose loss does not fit every task."""
    if isinstance(section, QuantizeSection):
        return section.trainings if section.method == "qat" else ()
    return (section.phases or ()) if section else ()


def _phases(profile: Profile) -> Iterator[Problem]:
    keeps = profile.teacher is not None and profile.teacher.keep_base
    sections = (("distil", profile.distil), ("prune", profile.prune), ("quantize", profile.quantize))
    for name, section in sections:
        for number, phase in enumerate(_trainings(section)):
            place: Place = (name, "phases", number)
            if phase.teacher == "base" and not keeps:
                yield Problem((*place, "teacher"), '"base" needs [teacher] keep_base = true')
            for key, message in phase_faults(phase, len(profile.task.labels), task_of(profile.task).answers):
                yield Problem((*place, *key.split(".")), message)
            more = profile.data.unlabelled or (section and section.augment.copies)
            if phase.data == "unlabelled" and not more:
                yield Problem((*place, "data"), '"unlabelled" needs [data] unlabelled, or copies in augment')


def _flat(error: ProfileError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _search(profile: Profile) -> Iterator[Problem]:
    search, init = profile.search, profile.student.init
    if search is None:
        return
    for number, text in enumerate(search.embedding or ()):
        try:
            embedding_of(text)
        except ProfileError as error:
            yield Problem(("search", "embedding", number), _flat(error))
    if profile.distil is not None and not any(phase.trains_head for phase in profile.distil.phases):
        message = "none trains the head, and [search] compares finalists by their answers"
        yield Problem(("distil", "phases"), f"{message}; add a loss on answers, such as logit_mse")
    if init == "path":
        yield Problem(("student", "init"), '"path" has a shape, and leaves nothing to [search]')
    for name, wants in _unfit_scores(profile, search.score.keys()):
        yield Problem(("search", "score"), f"{name} {wants}")
    if size(space_of(search)) > MOST_CANDIDATES:
        message = f"more than {MOST_CANDIDATES:,} students; give shorter lists"
        yield Problem(("search",), message, table=True)


def _unfit_scores(profile: Profile, names: Set[str]) -> Iterator[tuple[str, str]]:
    """(score, what it needs and the profile does not have)."""
    if profile.student.init == "random":
        for name in sorted(CARVED_SCORES & names):
            yield name, 'needs a student that is carved, and [student] init is "random"'
    if profile.task.problem_type != DEFAULT:
        for name in sorted(LABEL_SCORES & names):
            yield name, f"needs one label a text, and [task] problem_type is {profile.task.problem_type}"


def _bench(profile: Profile) -> Iterator[Problem]:
    bench = profile.bench
    if bench is None:
        return
    if bench.min_seconds > bench.max_seconds:
        limit = f"must be at most [bench] max_seconds = {bench.max_seconds:g}"
        yield Problem(("bench", "min_seconds"), f"{limit}, got {bench.min_seconds:g}")
    longest = profile.student.max_positions or profile.task.max_length
    if bench.sequence is not None and bench.sequence > longest:
        message = f"must be at most {longest}, the longest input of the student, got {bench.sequence}"
        yield Problem(("bench", "sequence"), message)


def _forms(profile: Profile) -> tuple[str, ...]:
    """The forms that are made; none where that is not known before it runs."""
    scheme = profile.quantize.scheme if profile.quantize else None
    if profile.export is None or scheme == "auto":
        return ()
    return profile.export.forms if scheme is None else (*profile.export.forms, scheme)


def _budget(profile: Profile) -> Iterator[Problem]:
    yield from _bench(profile)
    if profile.budget is None:
        return
    form, forms = profile.budget.form, _forms(profile)
    able = forms or (*(profile.export.forms if profile.export else ()), *SCHEMES)
    if form is not None and form not in able:
        yield Problem(("budget", "form"), f"must be one of [export] forms {', '.join(able)}, got {form!r}")
    judged = form or (forms[-1] if forms else PREDICTED[-1])
    if profile.search is not None and judged not in PREDICTED:
        known = " or ".join(PREDICTED)
        message = f"a search predicts the latency of {known} only, and {judged} would be judged; name one"
        yield Problem(("budget", "form"), message)
    yield from _judged_target(profile)
    yield from _scores(profile.budget, task_of(profile.task))
    labels = profile.task.labels
    for label, least in profile.budget.recall.items():
        place = ("budget", "recall", label)
        if label not in labels:
            close = nearest(label, labels)
            yield Problem(
                place, f"not a label of [task] labels ({f'nearest: {close}' if close else ', '.join(labels)})"
            )
        elif not 0 <= least <= 1:
            yield Problem(place, f"must lie between 0 and 1, got {least:g}")


def _scores(budget: BudgetSection, task: Task) -> Iterator[Problem]:
    """Limits of figures that the task does not have."""
    named = [name for name in ("accuracy", "macro_f1", "agreement") if getattr(budget, name) is not None]
    places = [("budget", name) for name in named] + [("budget", "scores", name) for name in budget.scores]
    for place in places:
        if place[-1] not in task.metrics:
            message = f"no score of {task.section.problem_type}, which has {', '.join(task.metrics)}"
            yield Problem(place, message)
    if budget.recall and not isinstance(task, LabelledTask):
        yield Problem(("budget", "recall"), f"{task.section.problem_type} has no labels to find")


def _judged_target(profile: Profile) -> Iterator[Problem]:
    target = profile.budget.target if profile.budget else None
    if target is None or profile.bench is None:
        return
    place = ("budget", "target")
    if target not in profile.bench.targets:
        known = ", ".join(profile.bench.targets)
        yield Problem(place, f"must be one of [bench] targets {known}, got {target!r}")
    elif profile.search is not None and target != "cpu":
        yield Problem(place, f"a search predicts latency on this machine's cpu only, got {target!r}")
