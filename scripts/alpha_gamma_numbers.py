"""The exact numbers of docs/choosing-alpha-and-gamma.md; seconds, no training.

python scripts/alpha_gamma_numbers.py
"""

import math

import torch

from refocal import sigmoid_focal_loss, sigmoid_posterior
from refocal.budget import gradient_budget, suggest
from refocal.parameters import (
    effective_number_weights,
    gradient_ratio,
    half_weight_probability,
    inflection_probability,
    inverse_frequency_weights,
    loss_reduction,
    mukhoti_gamma,
    prior_bias,
)
from refocal.probabilities import sigmoid_logit

GAMMAS = (0.5, 1.0, 2.0, 3.0, 5.0)


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def main():
    print("### What gamma does to one example\n")
    table(
        ["gamma", "p_t = .5 costs", ".9", ".968", "pull of .1 against .9", "half weight at p_t",
         "concave below p_t"],
        [
            [
                f"{g:g}",
                *(f"1/{loss_reduction(p, g):.4g}" for p in (0.5, 0.9, 0.968)),
                f"{gradient_ratio(0.9, 0.1, g):.4g}",
                f"{half_weight_probability(g):.4f}",
                f"{inflection_probability(g):.4f}",
            ]
            for g in GAMMAS
        ],
    )  # fmt: skip
    print("### The bias of the last layer under (alpha .25, gamma 2)\n")
    z = math.log(0.01 / 0.99)
    meant = sigmoid_posterior(torch.tensor(z, dtype=torch.float64)).item()
    print(f"RetinaNet: bias {z:.3f}, whose posterior is {meant:.2g}")
    table(
        ["base rate", "bias that means it", "logit of the base rate", "what that logit means"],
        [
            [
                f"{p:g}",
                f"{prior_bias(p):.3f}",
                f"{math.log(p / (1 - p)):.3f}",
                f"{sigmoid_posterior(torch.tensor(math.log(p / (1 - p))).double()).item():.2g}",
            ]
            for p in (0.5, 0.1, 0.045, 0.01, 0.001, 1e-5)
        ],
    )
    print("### Mukhoti's rule\n")
    table(
        ["p_t", "gamma"],
        [[f"{p:g}", f"{mukhoti_gamma(p):.4f}"] for p in (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)],
    )
    print("### Class weights for counts 5000, 500, 50\n")
    counts = [5000, 500, 50]
    table(
        ["rule", "weights"],
        [
            [f"effective number, beta {beta:g}",
             ", ".join(f"{w:.3f}" for w in effective_number_weights(counts, beta))]
            for beta in (0.9, 0.99, 0.999, 0.9999)
        ]
        + [["inverse frequency",
            ", ".join(f"{w:.3f}" for w in inverse_frequency_weights(counts))]],
    )  # fmt: skip
    print("### Gradient budget, 200,000 simulated examples, 2.6 % positive\n")
    generator = torch.Generator().manual_seed(0)
    odds = torch.randn(200_000, generator=generator, dtype=torch.float64) * 2 - 5.3
    y = torch.bernoulli(torch.sigmoid(odds), generator=generator)
    print("```\n" + str(gradient_budget(odds, y)) + "\n```\n")
    print("```\n" + str(suggest(odds, y)) + "\n```\n")
    print("### alpha alone, gamma 0: the same budget\n")
    print("```\n" + str(gradient_budget(odds, y, alpha=0.75, gamma=0.0)) + "\n```\n")
    print("### The detached modulator, gamma 2, alpha off\n")
    rows = []
    for p in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        z = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)
        cells = [f"{p:g}"]
        q = 1 - p
        value = sigmoid_focal_loss(z, torch.ones_like(z), alpha=None)
        cells += [f"{value.item():.4g}", f"{-math.log(p) - q - q * q / 2:.4g}"]
        for detach in (False, True):
            loss = sigmoid_focal_loss(z, torch.ones_like(z), alpha=None, detach_modulator=detach)
            (slope,) = torch.autograd.grad(loss, z)
            cells.append(f"{slope.item():.4g}")
        eta = torch.tensor(p, dtype=torch.float64)
        for detach in (False, True):
            logit = sigmoid_logit(eta, alpha=None, detach_modulator=detach)
            cells.append(f"{torch.sigmoid(logit).item():.4f}")
        rows.append(cells)
    table(
        ["p", "value", "detached", "slope", "detached", "sigmoid", "detached"],
        rows,
    )


if __name__ == "__main__":
    main()
