"""One rank of tests/test_linear_ranks.py: python linear.py RANK WORLD FOLDER.

Gradients of `linear_focal_loss` over each rank's own rows, averaged over the ranks, and of the
whole batch in one process.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from refocal import linear_focal_loss

ROWS, FEATURES, CLASSES = 20, 5, 7


def cases() -> dict:
    return {
        "elements": {"ignore_index": 3},
        "weights": {"alpha": torch.linspace(0.5, 2, CLASSES), "normalizer": "weights"},
        "number": {"normalizer": "local rows"},
    }


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    hidden, weight = torch.randn(ROWS, FEATURES), torch.randn(CLASSES, FEATURES)
    targets, importance = torch.randint(0, CLASSES, (ROWS,)), torch.rand(ROWS)
    found = {}
    for name, keywords in cases().items():
        # the first rank has most, and with four ranks the last has nothing
        bounds = [0, 13, 18, 20, 20]
        mine = slice(bounds[rank], bounds[rank + 1] if rank < world - 1 else ROWS)

        def settings(rows: int, keywords: dict = keywords) -> dict:
            number = keywords.get("normalizer") == "local rows"
            return {**keywords, "normalizer": float(rows)} if number else keywords

        whole = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
        expected = linear_focal_loss(
            *whole, targets, sample_weight=importance, **settings(ROWS), chunk_size=3
        )
        expected.backward()
        local = [hidden[mine].clone().requires_grad_(), weight.clone().requires_grad_()]
        value = linear_focal_loss(
            *local,
            targets[mine],
            sample_weight=importance[mine],
            process_group=dist.group.WORLD,
            chunk_size=3,
            **settings(len(local[0])),
        )
        value.backward()
        mean = value.detach().clone()
        for sum_of in (mean, local[1].grad):
            dist.all_reduce(sum_of)
        found[name] = {
            "loss": mean.item() / world,
            "expected_loss": expected.item(),
            "gradient": (local[1].grad / world).flatten().tolist(),
            "expected": whole[1].grad.flatten().tolist(),
            "rows": (local[0].grad / world).flatten().tolist(),
            "expected_rows": whole[0].grad[mine].flatten().tolist(),
        }
    (folder / f"found-{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
