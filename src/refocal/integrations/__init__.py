"""Adapters to other people's programs, where plain use of the modules goes wrong there.

`refocal.integrations.huggingface` (gradient accumulation in the Trainer),
`refocal.integrations.skorch` (probabilities), `refocal.integrations.torchvision` (a detection head
without a hook for the loss), `refocal.integrations.join` (ranks with different numbers of
batches). Lightning, accelerate, timm, MONAI, kornia and
segmentation-models-pytorch take the modules as they are: docs/hosts.md.
"""
