"""The graph of a run: texts, questions, answers, samples, weights, checkpoint, scores.

    texts -> ask -> filter -> train -> merge -> (the same for the second stage) -> evaluate

ICLDist asks twice where the teacher labels the demonstrations. Every step can be done alone; what
it needs is done first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from distill.checkpoints import fingerprint
from distill.config import ICLDist, KnowDist, Run, TeacherConfig
from distill.errors import ConfigError, DataError, InputError
from distill.files import digest, write_json, write_lines
from distill.filters.judge import filter_answers
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    gold_demonstrations,
    icldist_requests,
)
from distill.prompts.knowdist import knowdist_requests
from distill.records import Answer, Failure, Request, Teacher
from distill.run.steps import Step
from distill.student.difficulty import select
from distill.student.samples import Sample, read_samples, write_samples
from distill.teachers import identity, load_teacher
from distill.teachers.asking import ask
from distill.teachers.store import Store
from distill.texts.decontamination import Contamination, load_tests
from distill.texts.sources import Text, draw_texts

StageName = Literal["knowdist", "icldist"]


class Pipeline:
    """All steps of a run.

    Args:
        run: The configuration.
        retry_failed: Ask again what failed before.
        teacher: A loaded teacher, for tests and notebooks; default the configuration's.
    """

    def __init__(
        self, run: Run, *, retry_failed: bool = False, teacher: Teacher | None = None
    ) -> None:
        self.run, self.retry_failed = run, retry_failed
        self._teacher = teacher
        self._identities: dict[str, tuple[str, str]] = {}

    def teacher_of(self, stage: str) -> TeacherConfig:
        """Who answers a stage; demonstrations belong to ICLDist."""
        own = self.run.knowdist.teacher if stage == "knowdist" and self.run.knowdist else None
        return own or self.run.teacher

    def identity(self, stage: str) -> tuple[str, str]:
        """Name and revision of a stage's teacher."""
        if self._teacher is not None:
            return self._teacher.name, self._teacher.revision
        if stage not in self._identities:
            self._identities[stage] = identity(self.teacher_of(stage))
        return self._identities[stage]

    def answers(self, stage: str) -> Path:
        """The store of the answers of a stage's teacher, shared by all runs beside this one."""
        name, revision = self.identity(stage)
        slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{name}-{revision}")
        return self.run.out / "answers" / slug.rstrip("-")

    @cached_property
    def texts(self) -> Step:
        """Draw the texts and check them against the test sets."""
        return self._step(
            "texts",
            {
                "texts": [t.model_dump(mode="json") for t in self.run.texts],
                "files": self._file_stamps(),
                "seed": self.run.seed,
                "decontaminate": "contaminated" not in self.run.filters.skip,
            },
            (),
            ("texts.jsonl", "left_out.json"),
            self._draw,
        )

    def ask(self, stage: StageName) -> Step:
        """Ask the teacher what the stage needs."""
        settings = self._stage(stage).model_dump(
            mode="json", exclude={"training", "teacher", "difficulty"}
        )
        settings |= {
            "teacher": self.identity(stage),
            "backend": self.teacher_of(stage).backend,
            "seed": self.run.seed,
            "files": self._prompt_files(stage),
        }
        after = (self.texts,)
        if stage == "icldist" and self.run.icldist and self.run.icldist.demonstrations == "teacher":
            after = (self.texts, self.demonstrations)
        return self._step(
            f"{stage}-ask",
            settings,
            after,
            ("requests.jsonl",),
            lambda: self._ask(stage),
            asks=True,
        )

    @cached_property
    def demonstrations(self) -> Step:
        """Let the teacher label the texts that will be demonstrations."""
        stage = self._icldist()
        settings = {
            "teacher": self.identity("icldist"),
            "seed": self.run.seed,
            "taxonomies": stage.taxonomies,
            "score_choices": stage.score_choices,
        }
        return self._step(
            "demonstrations",
            settings,
            (self.texts,),
            ("labels.json",),
            self._label_demonstrations,
            asks=True,
        )

    def filter(self, stage: StageName) -> Step:
        """Keep the answers that are fit to learn from."""
        settings = {
            "filters": self.run.filters.model_dump(mode="json"),
            "teacher": self.identity(stage),
        }
        return self._step(
            f"{stage}-filter",
            settings,
            (self.ask(stage),),
            ("samples.jsonl", "funnel.json"),
            lambda: self._filter(stage),
        )

    def select(self, stage: StageName) -> Step:
        """Keep the samples that are hard for a small model, where the stage asks for it."""
        found = self._stage(stage)
        assert found.difficulty is not None
        model = found.difficulty.model or self.run.student
        settings = {
            "difficulty": found.difficulty.model_dump(mode="json"),
            "model": fingerprint(model),
            "max_length": found.training.max_length,
            "seed": self.run.seed,
        }
        return self._step(
            f"{stage}-select",
            settings,
            (self.filter(stage),),
            ("samples.jsonl", "difficulty.json"),
            lambda: self._select(stage),
        )

    def kept(self, stage: StageName) -> Step:
        """The step whose samples are trained on."""
        return self.select(stage) if self._stage(stage).difficulty else self.filter(stage)

    def samples(self, stage: StageName) -> list[Sample]:
        """What is trained on."""
        return list(read_samples(self.kept(stage).folder / "samples.jsonl"))

    def _step(
        self,
        name: str,
        settings: dict[str, Any],
        after: tuple[Step, ...],
        outputs: tuple[str, ...],
        work: Any,
        by_all: bool = False,
        asks: bool = False,
    ) -> Step:
        return Step(name, self.run.folder / name, settings, after, outputs, work, by_all, asks)

    def _stage(self, stage: StageName) -> KnowDist | ICLDist:
        found = self.run.knowdist if stage == "knowdist" else self.run.icldist
        if found is None:
            raise ConfigError(f"{stage}: this run has no such stage; add a section {stage}")
        return found

    def _icldist(self) -> ICLDist:
        stage = self._stage("icldist")
        assert isinstance(stage, ICLDist)
        return stage

    def _file_stamps(self) -> dict[str, Any]:
        """Size and time of the user's files: a changed file makes the texts stale."""
        stamps: dict[str, Any] = {}
        for source in self.run.texts:
            path = source.file or source.folder
            if path is None or not path.exists():
                continue
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                stat = file.stat()
                stamps[str(file)] = [stat.st_size, stat.st_mtime_ns]
        return stamps

    def _prompt_files(self, stage: StageName) -> dict[str, str]:
        """Hashes of the user's files that prompts are made of."""
        found = self._stage(stage)
        paths = [found.templates] if isinstance(found, KnowDist) else found.other_files
        return {str(path): digest(path) for path in paths if path is not None and path.exists()}

    @cached_property
    def tests(self) -> Contamination | None:
        """What must not be trained on; None where that check is switched off."""
        if "contaminated" in self.run.filters.skip:
            return None
        source = "mini" if all(t.mini for t in self.run.texts) else "real"
        try:
            return Contamination.of_texts(load_tests(source))
        except DataError as error:
            raise InputError(
                "texts are compared with the twelve test sets, lest these be trained on, and the "
                f"sets are not here: {error}; or give filters.skip=[contaminated], and no overlap "
                "is looked for"
            ) from None

    def _draw(self) -> dict[str, Any]:
        draw = draw_texts(self.run.texts, self.run.seed, self.tests)
        write_lines(self.texts.folder / "texts.jsonl", map(asdict, draw.texts))
        left_out = [[source, why, n] for (source, why), n in sorted(draw.left_out.items())]
        write_json(self.texts.folder / "left_out.json", left_out)
        return {"texts": len(draw.texts), "left_out": left_out}

    def load_texts(self) -> list[Text]:
        """The texts that were drawn."""
        content = (self.texts.folder / "texts.jsonl").read_text(encoding="utf-8")
        return [Text(**json.loads(line)) for line in content.splitlines()]

    def _label_demonstrations(self) -> dict[str, Any]:
        requests = demonstration_requests(self.load_texts(), self._icldist(), self.run.seed)
        asked = self._ask_all(requests, "demonstrations")
        labels: list[list[str]] = []
        unreadable = 0
        for request, answer in asked:
            label = _class_of(request, answer)
            if label is None:
                unreadable += 1
            else:
                labels.append([request.meta["taxonomy"], request.meta["text"], label])
        write_json(self.demonstrations.folder / "labels.json", labels)
        return {"labelled": len(labels), "unreadable": unreadable}

    def labels(self) -> dict[tuple[str, str], str]:
        """(taxonomy, text id) -> class that the teacher gave; that step must be done."""
        path = self.demonstrations.folder / "labels.json"
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {(taxonomy, text): label for taxonomy, text, label in rows}

    def requests(self, stage: StageName) -> list[Request]:
        """The questions of a stage, rebuilt; the texts and labels before them must be done."""
        texts = self.load_texts()
        if stage == "knowdist":
            return self.build(stage, texts, {})
        if self._icldist().demonstrations == "gold":
            labels = gold_demonstrations(texts, self._icldist(), self.run.seed)
        else:
            labels = self.labels()
        return self.build(stage, texts, labels)

    def build(
        self, stage: StageName, texts: Sequence[Text], labels: Mapping[tuple[str, str], str]
    ) -> list[Request]:
        """The questions of a stage about these texts, with these labels of demonstrations."""
        found = self._stage(stage)
        if isinstance(found, KnowDist):
            return knowdist_requests(texts, found, self.run.seed)
        return icldist_requests(texts, labels, found, self.run.seed)

    def _ask(self, stage: StageName) -> dict[str, Any]:
        requests = self.requests(stage)
        asked = self._ask_all(requests, stage)
        name = self.identity(stage)
        answers = {request.id for request, _ in asked}
        keys = ({"id": r.id, "key": r.key(*name), "answered": r.id in answers} for r in requests)
        write_lines(self.ask(stage).folder / "requests.jsonl", keys)
        summary: dict[str, Any] = {
            "requests": len(requests),
            "answered": len(asked),
            "teacher_prompt_tokens": sum(answer.prompt_tokens for _, answer in asked),
            "teacher_answer_tokens": sum(answer.completion_tokens for _, answer in asked),
        }
        if stage == "icldist":
            summary["coverage"] = {axis: dict(n) for axis, n in coverage(requests).items()}
        return summary

    def _ask_all(self, requests: Sequence[Request], stage: str) -> list[tuple[Request, Answer]]:
        def load() -> Teacher:  # nobody holds it afterwards: the student needs its memory
            return self._teacher or load_teacher(self.teacher_of(stage))

        with Store.open(self.answers(stage), *self.identity(stage)) as store:
            return ask(requests, load, store, retry_failed=self.retry_failed, what=stage)

    def _filter(self, stage: StageName) -> dict[str, Any]:
        name = self.identity(stage)
        requests = self.requests(stage)
        pairs: list[Any] = []
        with Store.read(self.answers(stage)) as store:
            for request in requests:
                key = request.key(*name)
                outcome = store.get(key) or store.failure(key)
                pairs.append((request, outcome or Failure("not answered", "", 0)))
        kept, funnel = filter_answers(pairs, self.run.filters, self.tests)
        samples = [sample_of(one.request, one.response) for one in kept]
        folder = self.filter(stage).folder
        write_samples(samples, folder / "samples.jsonl")
        write_json(folder / "funnel.json", funnel.to_json())
        if not samples:
            raise ConfigError(
                f"{stage}: no answer of {len(pairs)} is fit to learn from; "
                f"see {folder / 'funnel.json'}"
            )
        return {"kept": len(samples), "of": len(pairs)}

    def _select(self, stage: StageName) -> dict[str, Any]:
        from distill.student.difficulty_of_samples import measure_difficulty

        found = self._stage(stage)
        assert found.difficulty is not None
        samples = list(read_samples(self.filter(stage).folder / "samples.jsonl"))
        model = found.difficulty.model or self.run.student
        training = found.training
        measured = measure_difficulty(samples, model, training.max_length, training.batch_tokens)
        groups = {request.id: group_of(request) for request in self.requests(stage)}
        chosen = set(select(measured, groups, found.difficulty.keep, self.run.seed))
        if not chosen:
            raise ConfigError(
                f"{stage}.difficulty.keep: none of {len(samples)} samples is left; raise it"
            )
        folder = self.select(stage).folder
        write_samples((s for s in samples if s.id in chosen), folder / "samples.jsonl")
        write_json(folder / "difficulty.json", measured)
        return {"kept": len(chosen), "of": len(samples)}


def group_of(request: Request) -> str:
    """The prompts among which difficulties are compared: one wording, one set of classes."""
    meta = request.meta
    return f"{meta['family']}/{meta.get('taxonomy') or meta.get('perspective')}"


def sample_of(request: Request, response: str) -> Sample:
    """What a student learns of an answer."""
    return Sample(
        id=request.id,
        prompt=request.prompt,
        response=response,
        text=request.text,
        instruction=request.meta.get("instruction_text", ""),
        demonstrations=tuple((t, label) for t, label in request.meta.get("demonstrations", ())),
    )


def _class_of(request: Request, answer: Answer) -> str | None:
    """The class that an answer names, None if it names none."""
    from distill.prompts.icldist import load_taxonomies

    written = answer.text.strip().rstrip(".").casefold()
    classes = load_taxonomies()[request.meta["taxonomy"]].classes
    return next((name for name in classes if name.casefold() == written), None)
