"""What a fit found in words, for the command line, the page and the files."""

from __future__ import annotations

from paws.data.texts import counted
from paws.fit.record import Figure, FitRecord, Images, NearCopy, Provenance

SHOWN = 12  # classes, images or pairs named in a sentence
SAME = 1e-6  # how far even frequencies may be apart

IMAGES: dict[Images, str] = {"labelled": "labelled images", "test": "images with test labels", "all": "images"}
PROVENANCE: dict[Provenance, str] = {
    "cross_validated": ", by models that did not see their labels",
    "seen_in_training": ", which training has seen",
    "before_relabelling": ", before labels were changed",
    "none": "",
}


def describe(figure: Figure) -> str:
    """What a figure was measured on, e.g. "100 labelled images, by models that did not see their labels"."""
    return f"{figure.count:,} {IMAGES[figure.images]}{PROVENANCE[figure.provenance]}"


def accuracy_sentence(record: FitRecord) -> str:
    """The accuracy of the method in use: on test labels where there are any, else on the labelled images."""
    figure = record.headline
    return "no accuracy can be stated" if figure.value is None else f"{figure.value:.1%} right on {describe(figure)}"


def verdict(record: FitRecord, titles: dict[str, str]) -> str:
    """Why the method in use is used, in one sentence; ``titles`` by method."""
    title = titles[record.chosen]
    if record.labels_changed:
        return f"{title} was chosen before labels were changed."
    if record.settings.get("model", "auto") != "auto":
        return f"{title} was asked for."
    parts = ", ".join(f"{titles[name]} {weight:.2f}" for name, weight in record.weights.items())
    made_of = f"Weights of the methods: {parts}, "
    own = record.score.accuracy
    others = [row for row in record.scores if row.method != record.chosen and row.accuracy.value is not None]
    if own.value is None or not others:
        return f"{made_of}fixed beforehand, as {_why_none(record)} and none can be held out."
    best = max(others, key=lambda row: row.accuracy.value or 0.0)
    how = "fixed beforehand, as not every class can be held out" if record.never_judged else "fitted to held-out labels"
    return (
        f"{made_of}{how}. It names {own.value:.1%} of {own.count} held-out labels rightly, "
        f"the best single method, {titles[best.method]}, {best.accuracy.value or 0:.1%}."
    )


def frequencies_sentence(record: FitRecord) -> str:
    """How often each class is taken to be among the images, the most frequent first; empty where that was not noted."""
    asked, shares = record.settings.get("prior", "estimate"), record.frequencies.values()
    if asked == "estimate" and shares and max(shares) - min(shares) < SAME:
        asked = "uniform"  # nothing spoke for others
    how = {"estimate": "estimated", "uniform": "taken to be even", "labels": "as among the labels"}.get(str(asked), "as given")
    order = sorted(record.frequencies.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {share:.0%}" for name, share in order[:SHOWN])
    return f"class frequencies, {how}: {shown}{', …' if len(order) > SHOWN else ''}" if order else ""


def notes(record: FitRecord) -> list[str]:
    """What a reader must know before trusting the figures of a record."""
    found = []
    if record.score.accuracy.value is None and record.score.test.value is None:
        why = _why_none(record)
        found.append(f"{why[0].upper()}{why[1:]}, so none could be held out and no accuracy can be stated.")
    elif record.never_judged:
        count, names = len(record.never_judged), ", ".join(record.never_judged[:SHOWN])
        more = ", …" if count > SHOWN else ""
        found.append(
            f"{count} of {len(record.classes)} classes ({names}{more}) {_have(count)} no label that can be held out: the "
            "accuracy does not tell of them, no method was preferred by it, and no prediction is kept as sure."
        )
    if encoders := record.head.get("encoders"):
        found.append(
            f"{counted(encoders['count'], 'encoder')} {_were(encoders['count'])} trained on the pixels: {encoders['why']}."
        )
    if record.labels_changed:
        changed = f"{counted(record.labels_changed, 'label')} {_were(record.labels_changed)} changed since training"
        found.append(f"{changed}. Measured before: {_outdated(record)}.")
    if record.unreadable:
        count = len(record.unreadable)
        found.append(f"{counted(count, 'file')} of the folder could not be read and {_were(count)} left out.")
    return found + _near_copies(record.near_copies)


def _near_copies(pairs: tuple[NearCopy, ...]) -> list[str]:
    """Which images look almost the same, what figure that flatters, and what is wrong with their labels."""
    found = []
    for across, kind, flattered in (
        (False, "labelled images", "the accuracy"),
        (True, "a labelled and a test image", "the test figure"),
    ):
        kept = [pair.files for pair in pairs if pair.across == across]
        named = ", ".join(map(" and ".join, kept[:SHOWN])) + (", …" if len(kept) > SHOWN else "")
        if kept:
            flatter = "looks almost the same and flatters" if len(kept) == 1 else "look almost the same and flatter"
            found.append(f"{counted(len(kept), 'pair')} of {kind} {flatter} {flattered}: {named}.")
    other = [pair for pair in pairs if pair.labels[0] != pair.labels[1]]
    told = "; ".join(
        f"{a} is {one!r} and {b} is {two!r}" for (a, b), (one, two) in ((p.files, p.labels) for p in other[:SHOWN])
    )
    if other:
        found.append(
            f"{len(other)} of these pairs {_have(len(other))} two labels: {told}{'; …' if len(other) > SHOWN else ''}."
        )
    return found


def _why_none(record: FitRecord) -> str:
    """Why no label can be held out: the images that show a class would all be."""
    single = max(record.counts.values()) == 1
    return "every class has a single label" if single else "the labels of every class are on copies of one image"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _outdated(record: FitRecord) -> str:
    """The figures that were measured before labels were changed."""
    own = record.score
    parts: dict[str, list[Figure]] = {
        "accuracy": [own.accuracy],
        "test accuracy": [own.test],
        "calibration": [record.calibration.error, record.test_calibration.error],
        "threshold": [record.threshold],
        "views": [record.view_agreement],
        "the other methods": [figure for row in record.scores if row != own for figure in (row.accuracy, row.test)],
    }
    outdated = [part for part, figures in parts.items() if any(f.provenance == "before_relabelling" for f in figures)]
    return ", ".join(outdated) or "nothing"
