"""The typed schema of a run: two top-level keys, and sections named by role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from omegaconf import OmegaConf
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

DEFAULT_RECIPE = "paws"


class Section(BaseModel):
    """A section of the config: immutable, no unknown keys, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Labels(Section):
    """Which training images are labelled: exactly one of file, per_class, fraction; none of them means all."""

    file: Path | None = Field(
        None, description="split file: one training index or file name per line; of a folder also a CSV with file and label"
    )
    per_class: PositiveInt | None = Field(None, description="labelled images per class, drawn with `seed`")
    fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="labelled share of each class")
    seed: int | None = Field(None, description="seed of the draw; the run's seed when absent")

    @model_validator(mode="after")
    def _one_way(self) -> Labels:
        if sum(way is not None for way in (self.file, self.per_class, self.fraction)) > 1:
            raise ValueError("give only one of file, per_class, fraction, and null for the others")
        return self


class Data(Section):
    """The images and their labels."""

    dataset: str = Field(
        "digits", description="digits, fashion_mnist, cifar10, cifar100, or folder (of class folders, as ImageNet)"
    )
    root: Path | None = Field(None, description="folder of the dataset; not needed for bundled ones")
    labels: Labels = Labels()
    validation: Path | None = Field(None, description="split file of training images held out for validation")
    cache_dir: Path | None = Field(None, description="where the index of a large image folder is kept")
    workers: Count = Field(0, description="loader processes for image files; sets in memory need none")
    skip_broken: bool = Field(False, description="leave unreadable files out, with a count, instead of an error")
    stage_to: Path | None = Field(None, description="node-local folder the data is copied to before training")
    stage_timeout: Positive = Field(3600.0, description="seconds the other ranks of a node wait for that copy")


class Views(Section):
    """Random views of an image; docs/recipes.md has the operations of each preset."""

    preset: Literal["digits", "grey", "cifar", "imagenet"] = Field("digits", description="order and kind of operations")
    size: PositiveInt = Field(8, description="pixels of the large views")
    scale: tuple[Positive, Positive] = Field((0.6, 1.0), description="area range of the large views' crops")
    small: Count = Field(0, description="number of small views")
    small_size: PositiveInt = Field(8, description="pixels of the small views")
    small_scale: tuple[Positive, Positive] = Field((0.3, 0.75), description="area range of the small views' crops")
    jitter: NonNegative = Field(0.5, description="strength of the colour jitter")

    @field_validator("scale", "small_scale")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"goes from {value[0]} down to {value[1]}; give the smaller number first")
        return value


class Support(Section):
    """The labelled batch that votes."""

    classes_per_batch: PositiveInt | None = Field(None, description="classes in a batch; all of them when absent")
    images_per_class: PositiveInt = Field(16, description="labelled images of each class in a batch, on every rank")
    views: PositiveInt = Field(1, description="views of every support image")
    unique_classes: bool = Field(False, description="other classes on every rank")
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="label smoothing: what is spread over all classes")


class Model(Section):
    """The network: backbone, projection head, optional prediction head."""

    name: str = Field("small_cnn", description="small_cnn, plain_cnn, wide_resnet28w2, resnet50[w2|w4], or any timm model")
    output_dim: PositiveInt = Field(128, description="width of the projection head's output, which is compared")
    hidden_dim: PositiveInt | None = Field(None, description="width of the projection head; the backbone's when absent")
    prediction_head: bool = Field(False, description="a further head on the projection; targets are taken before it")
    pretrained: bool = Field(False, description="start from timm's weights")
    init_from: Path | None = Field(None, description="run folder or checkpoint whose weights to start from")


class Optim(Section):
    """Optimiser and schedule; rates and the batch size are per rank and per step."""

    name: Literal["lars", "sgd", "adamw"] = Field("lars", description="LARS on SGD with momentum, SGD alone, or AdamW")
    epochs: PositiveInt = Field(100, description="length of the run, and of its schedule")
    steps_per_epoch: PositiveInt | None = Field(None, description="cut or stretch an epoch; one pass when absent")
    batch_size: PositiveInt = Field(256, description="unlabelled images per rank and step")
    lr: NonNegative = Field(3.2, description="learning rate at the end of the warm-up")
    start_lr: NonNegative = Field(0.0, description="learning rate the warm-up starts from")
    final_lr: NonNegative = Field(0.0, description="learning rate the cosine ends at")
    warmup_epochs: NonNegative = Field(0.0, description="epochs in which the learning rate rises linearly")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="of LARS and SGD; of AdamW the first beta")
    nesterov: bool = Field(False, description="Nesterov's form of the momentum, in LARS and SGD")
    weight_decay: NonNegative = Field(1e-6, description="of weights; biases and norms have none")
    trust_coefficient: Positive = Field(0.001, description="of LARS")
    first_rate: Positive = Field(1.0, description="learning rate of the first layer, as a share of the last one's")
    groups: Literal["module", "suncet"] = Field("module", description="how norm parameters are found")


class Recipe(Section):
    """Settings of a training method. A subclass is known from its definition on, by its ``name: Literal[...]`` with a default.

    The subclasses stand in the methods' files (paws.methods), which whoever reads cards imports first.
    """

    known: ClassVar[dict[str, type[Recipe]]] = {}

    name: str

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Enter the subclass by its name; ValueError for a name that another class has."""
        name = cls.model_fields["name"].default
        former = Recipe.known.setdefault(name, cls)
        if (former.__module__, former.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"recipe {name!r} is {former.__module__}.{former.__qualname__} already")
        Recipe.known[name] = cls


class _OfItsName:
    """A recipe from a mapping: validated, and described in the JSON schema, by the class that its ``name`` stands for."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        serialise = core_schema.plain_serializer_function_ser_schema(
            lambda recipe, info: recipe.model_dump(mode=info.mode), info_arg=True
        )
        return core_schema.no_info_plain_validator_function(_recipe, serialization=serialise)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"oneOf": [handler(recipe.__pydantic_core_schema__) for recipe in Recipe.known.values()]}


def _recipe(value: Any) -> Recipe:
    """``value``, or the recipe that a mapping describes; without a name PAWS."""
    if isinstance(value, Recipe):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("recipe", "must be a mapping with a name")
    name = value.get("name", DEFAULT_RECIPE)
    if not isinstance(name, str) or name not in Recipe.known:
        known = ", ".join(map(repr, sorted(Recipe.known))) or "none: import paws.methods first"
        raise PydanticCustomError("recipe", "name '{name}' is not one of {known}", {"name": str(name), "known": known})
    return Recipe.known[name].model_validate(value)


class Evaluate(Section):
    """Evaluation on the held-out split at the end of a run, and on labelled images alone while it trains."""

    every_epochs: PositiveInt | None = Field(1, description="epochs between choices of the best weights; the last if null")
    temperature: Positive = Field(0.1, description="of soft nearest neighbours")
    batch_size: PositiveInt = Field(256, description="images embedded at a time")
    embedding: Literal["z", "h", "backbone"] = Field("z", description="what soft nearest neighbours compare")


class Machine(Section):
    """Where and in which precision to run; nothing here changes the method."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, mps")
    precision: Literal["fp32", "bf16", "fp16", "half"] = Field(
        "fp32",
        description="of the network (autocast), losses are in fp32; half: fp16, on a CPU bf16 if it is fast there, else fp32",
    )
    channels_last: bool = Field(False, description="memory format of the network and its images")
    compile: bool = Field(False, description="compile the network with torch.compile")
    deterministic: bool = Field(False, description="deterministic GPU kernels, for bit-equal resume there")
    group_timeout: Positive = Field(600.0, description="seconds a rank waits for the others")


class Checkpoint(Section):
    """When the whole state is written; signals (TERM, INT, USR1, USR2) write it too."""

    every_steps: PositiveInt | None = Field(None, description="steps between checkpoints; at each epoch's end if absent")
    every_minutes: Positive | None = Field(None, description="minutes between checkpoints, besides")
    keep: PositiveInt = Field(2, description="how many of the last ones stay on disk")
    keep_epochs: tuple[PositiveInt, ...] = Field((), description="epochs whose checkpoint is never deleted")


class Log(Section):
    """Metrics rows; always metrics.jsonl and metrics.csv in the run folder."""

    every_steps: PositiveInt = Field(10, description="steps between rows, each the mean over them")
    tensorboard: bool = Field(False, description="also write TensorBoard events (extra `tracking`)")


class Config(Section):
    """A run: two top-level keys, and sections named by role."""

    seed: int = Field(0, description="from which all random draws follow")
    run_dir: Path = Field(Path("runs/paws"), description="folder that the run is written into")
    recipe: Annotated[Recipe, _OfItsName()] = Field(default_factory=lambda: _recipe({}))
    data: Data = Data()
    views: Views = Views()
    support: Support = Support()
    model: Model = Model()
    optim: Optim = Optim()
    evaluate: Evaluate = Evaluate()
    machine: Machine = Machine()
    checkpoint: Checkpoint = Checkpoint()
    log: Log = Log()

    def to_yaml(self) -> str:
        """The whole config as YAML, every default written out."""
        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))
