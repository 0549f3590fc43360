"""The typed schema of a run: two top-level keys, and sections named by role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Union, get_args

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A section of the config: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Labels(Section):
    """Which training images are labelled: exactly one of file, per_class, fraction; none of them means all."""

    file: Path | None = Field(None, description="split file: one training index or one file name per line")
    per_class: PositiveInt | None = Field(None, description="labelled images per class, drawn with `seed`")
    fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="labelled share of each class")
    seed: int | None = Field(None, description="seed of the draw; the run's seed when absent")

    @model_validator(mode="after")
    def _one_way(self) -> Labels:
        if sum(way is not None for way in (self.file, self.per_class, self.fraction)) > 1:
            raise ValueError("give only one of file, per_class, fraction")
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


class Support(Section):
    """The labelled batch that votes."""

    classes_per_batch: PositiveInt | None = Field(None, description="classes in a batch; all of them when absent")
    images_per_class: PositiveInt = Field(16, description="labelled images of each class in a batch, on every rank")
    views: PositiveInt = Field(1, description="views of every support image")
    unique_classes: bool = Field(False, description="other classes on every rank")
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="label smoothing: what is spread over all classes")


class Model(Section):
    """The network: backbone, projection head, optional prediction head."""

    name: str = Field("small_cnn", description="small_cnn, wide_resnet28w2, resnet50[w2|w4], or any timm model")
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
    groups: Literal["module", "suncet"] = Field("module", description="how norm parameters are found")


class PawsRecipe(Section):
    """PAWS pre-training (arXiv 2104.13963)."""

    name: Literal["paws"] = "paws"
    temperature: Positive = Field(0.1, description="by which the cosines of the vote are divided")
    sharpening: Annotated[float, Field(gt=0, le=1)] = Field(0.25, description="temperature that sharpens the targets")
    me_max: NonNegative = Field(1.0, description="weight of mean-entropy maximisation; 0 turns it off")
    sharpening_warmup: NonNegative = Field(0.0, description="epochs in which sharpening goes from 1 to its value")
    nt_xent: NonNegative = Field(0.0, description="weight of NT-Xent on the two large views; 0, the paper's method, without it")
    nt_xent_temperature: Positive = Field(0.1, description="by which NT-Xent's cosines are divided")
    nt_xent_alone: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="first share of steps with NT-Xent alone")

    @model_validator(mode="after")
    def _alone_with_something(self) -> PawsRecipe:
        if self.nt_xent_alone and not self.nt_xent:
            raise ValueError("nt_xent_alone needs a weight nt_xent above 0")
        return self


class SimclrCtRecipe(Section):
    """SimCLR with SuNCEt on the support batch for the first epochs (arXiv 2006.10803)."""

    name: Literal["simclr_ct"]
    temperature: Positive = Field(0.1, description="by which the cosines of the losses are divided")
    supervised_epochs: Count = Field(100, description="epochs with the SuNCEt term")
    key_gradient: bool = Field(False, description="take NT-Xent's gradient through the keys too")


class SnnFinetuneRecipe(Section):
    """SuNCEt fine-tuning of a pre-trained encoder on the labelled images."""

    name: Literal["snn_finetune"]
    temperature: Positive = Field(0.1, description="by which the cosines of the losses are divided")


class FinetuneRecipe(Section):
    """Cross-entropy fine-tuning of a classifier on the labelled images."""

    name: Literal["finetune"]
    classifier: Literal["projection", "backbone"] = Field("projection", description="what the classifier stands on")
    probe: bool = Field(False, description="train the classifier alone on a frozen network")
    zero_init: bool = Field(True, description="start the classifier's last layer at zero")
    augmentation: Literal["light", "full"] = Field("light", description="crop and flip, or that of pre-training")


class Evaluate(Section):
    """Evaluation on the held-out split at the end of a run, and on labelled images alone while it trains."""

    every_epochs: PositiveInt | None = Field(1, description="epochs between choices of the best weights; the last if null")
    temperature: Positive = Field(0.1, description="of soft nearest neighbours")
    batch_size: PositiveInt = Field(256, description="images embedded at a time")
    embedding: Literal["z", "h", "backbone"] = Field("z", description="what soft nearest neighbours compare")


class Machine(Section):
    """Where and in which precision to run; nothing here changes the method."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:0, mps")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the network (autocast); losses are in fp32")
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


Recipe = Annotated[
    Union[PawsRecipe, SimclrCtRecipe, SnnFinetuneRecipe, FinetuneRecipe],  # noqa: UP007
    Field(discriminator="name"),
]


class Config(Section):
    """A run: two top-level keys, and sections named by role."""

    seed: int = Field(0, description="from which all random draws follow")
    run_dir: Path = Field(Path("runs/paws"), description="folder that the run is written into")
    recipe: Recipe = PawsRecipe()
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


RECIPES: dict[str, type[Section]] = {
    get_args(recipe.model_fields["name"].annotation)[0]: recipe
    for recipe in (PawsRecipe, SimclrCtRecipe, SnnFinetuneRecipe, FinetuneRecipe)
}
