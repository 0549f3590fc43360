"""The five configs of the published code, with its keys and values."""

import yaml

META = "meta: {copy_data: true, device: 'cuda:0', load_checkpoint: false, read_checkpoint: null, use_fp16: true, "
LOGGING = "logging: {folder: logs/, write_tag: "
CIFAR = "root_path: datasets/, image_folder: cifar10-data/, subset_path: cifar10_subsets/, data_seed: 152, unlabeled_frac: 0.92"
IMAGENET = "root_path: datasets/, image_folder: imagenet_full_size/061417/, subset_path: imagenet_subsets, unlabeled_frac: 0.9"

OLD = {
    "paws_cifar10": f"""
criterion: {{classes_per_batch: 10, supervised_imgs_per_class: 64, supervised_views: 2, unsupervised_batch_size: 256,
  temperature: 0.1, sharpen: 0.25, me_max: true}}
data: {{color_jitter_strength: 0.5, dataset: cifar10, label_smoothing: 0.1, multicrop: 6, normalize: true,
  unique_classes_per_rank: false, {CIFAR}}}
{META} model_name: wide_resnet28w2, output_dim: 128, use_pred_head: false}}
optimization: {{epochs: 600, warmup: 10, start_lr: 0.8, lr: 3.2, final_lr: 0.032, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} paws}}
""",
    "paws_imagenet": f"""
criterion: {{classes_per_batch: 15, supervised_imgs_per_class: 7, supervised_views: 1, unsupervised_batch_size: 64,
  temperature: 0.1, sharpen: 0.25, me_max: true}}
data: {{color_jitter_strength: 1.0, data_seed: null, dataset: imagenet, label_smoothing: 0.1, multicrop: 6,
  normalize: true, unique_classes_per_rank: true, {IMAGENET}}}
{META} model_name: resnet50, output_dim: 2048, use_pred_head: true}}
optimization: {{epochs: 100, warmup: 10, start_lr: 0.3, lr: 6.4, final_lr: 0.064, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} paws}}
""",
    "suncet_imagenet": f"""
criterion: {{classes_per_batch: 20, supervised_imgs_per_class: 2, supervised_views: 1, unsupervised_batch_size: 44,
  temperature: 0.1, supervised_epochs: 100}}
data: {{color_jitter_strength: 1.0, dataset: imagenet, label_smoothing: 0.0, normalize: true,
  unique_classes_per_rank: false, {IMAGENET}}}
{META} model_name: resnet50, output_dim: 2048, use_pred_head: false}}
optimization: {{epochs: 100, warmup: 10, start_lr: 0.6, lr: 4.8, final_lr: 0.048, momentum: 0.9, nesterov: false,
  weight_decay: 1.0e-6}}
{LOGGING} suncet-tmp}}
""",
    "fine_tune_imagenet": f"""
data: {{data_seed: 152, dataset: imagenet_fine_tune, normalize: true, num_classes: 1000, {IMAGENET}}}
meta: {{copy_data: true, device: 'cuda:0', load_checkpoint: false, master_port: 4029, model_name: resnet50, training: true,
  use_fp16: true}}
optimization: {{epochs: 50, lr: 0.02, use_lars: false, weight_decay: 0.0, zero_init: true}}
{LOGGING} paws-latest, pretrain_path: paws-latest.pth.tar}}
""",
    "snn_fine_tune_cifar10": f"""
criterion: {{classes_per_batch: 10, supervised_views: 2, supervised_batch_size: 64, temperature: 0.1}}
data: {{dataset: cifar10_fine_tune, label_smoothing: 0.0, normalize: true, unique_classes_per_rank: false, {CIFAR}}}
{META} model_name: wide_resnet28w2, output_dim: 128, use_pred_head: false}}
optimization: {{epochs: 30, final_lr: 0.01, lr: 0.1, start_lr: 0.1, momentum: 0.9, nesterov: false, use_lars: true, warmup: 0,
  weight_decay: 0}}
{LOGGING} paws-latest-SNN, pretrain_path: paws-latest.pth.tar}}
""",
}


def old(name: str) -> dict:
    """A fresh copy of one of them."""
    return yaml.safe_load(OLD[name])
