"""The PyTorch side of `make bench-pytorch`: the network of src/learning, trained eagerly on the same rows.

benches/pytorch.rs starts it with a safetensors file of rows and a number of threads. It checks that its losses have
the slopes of src/learning/loss.rs, says "ready", and then answers each line of standard input with numbers:
"train KIND SECONDS" with samples a second, "stages KIND STEPS" with seconds a step by stage, "matmul STEPS" with
floating point operations a second.
"""

import json
import struct
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

HORIZONS, CLASSES, STATES = 5, 5, 9
SCALARS = 5 * HORIZONS
RANKS = SCALARS + CLASSES * HORIZONS
OUTPUTS = RANKS + STATES
# Bounds of the corrections by scalar column, and where errors start to count linearly; see src/learning/loss.rs.
LIMITS = torch.tensor([1.5] * (2 * HORIZONS) + [0.5] * HORIZONS + [1.5] * (2 * HORIZONS))
LINE_FROM = 3.0
BASE_RATE_MARGIN = 0.005
SLOPE_TOLERANCE = 1e-4


def read_rows(path):
    """Tensors and metadata of a safetensors file of 32-bit floats."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, offset=begin, count=(end - begin) // 4)
        tensors[name] = tensors[name].reshape(entry["shape"]).clone()
    return tensors, metadata


class Losses:
    """All thirty-one losses of a batch, each weighed by the inverse of what its benchmark loses.

    What does not depend on the outputs (masks, weights, offsets, cumulative memberships) is computed once for all
    rows and gathered as one block with the batch.
    """

    def __init__(self, rows, recipe):
        ratio, scaled = rows["log_ratio"], rows["scaled_return"]
        outcome, base, quintile = rows["outcome"], rows["base_rate"], rows["quintile"]
        state = rows["state"]
        known = torch.cat(
            [
                ratio.isfinite(),
                scaled.isfinite(),
                outcome.isfinite() & base.isfinite(),
                quintile.reshape(-1, HORIZONS, CLASSES).isfinite().all(-1),
                state >= 0,
            ],
            dim=1,
        ).float()
        offset = base.clamp(BASE_RATE_MARGIN, 1 - BASE_RATE_MARGIN).logit()
        cumulative = quintile.reshape(-1, HORIZONS, CLASSES).cumsum(-1)[..., :-1].flatten(1)
        block = [column.nan_to_num() for column in (ratio, scaled, outcome, offset, cumulative)] + [known]
        self.widths = [column.shape[1] for column in block]
        self.block = torch.cat(block, dim=1)
        self.state = state.flatten().clamp(min=0).long()
        self.block[:, -known.shape[1] :] *= self.head_weights(known, json.loads(recipe["task_weights"]))

    def head_weights(self, known, task_weights):
        """Weight of a known target of each head; a task's weight is shared by its horizons."""
        rows = len(self.block)
        benchmark = (self.each(torch.zeros(rows, OUTPUTS), *self.gather(slice(None))[:2]) * known).sum(0)
        *weights, state = torch.tensor(task_weights) / sum(task_weights)
        weights = torch.cat([torch.stack(weights).repeat_interleave(HORIZONS) / HORIZONS, state.unsqueeze(0)])
        return torch.where(benchmark > 0, rows * weights / benchmark, 0.0)

    def gather(self, rows):
        block = self.block[rows] if isinstance(rows, slice) else self.block.index_select(0, rows)
        *columns, weights = block.split(self.widths, dim=1)
        return columns, self.state[rows], weights

    @staticmethod
    def each(outputs, columns, state):
        """Loss by row and head."""
        ratio, scaled, outcome, offset, cumulative = columns
        bounded = LIMITS * (outputs[:, :SCALARS] / LIMITS).tanh()
        corrected, mean, odds = bounded.split([2 * HORIZONS, HORIZONS, 2 * HORIZONS], dim=1)
        excess = ratio - corrected
        kept = excess.clamp(max=LINE_FROM)
        factor = kept.exp()
        variance = factor - kept - 1 + (factor - 1) * (excess - kept)
        mean = F.huber_loss(mean, scaled, reduction="none", delta=LINE_FROM)
        binary = F.binary_cross_entropy_with_logits(offset + odds, outcome, reduction="none")
        shares = outputs[:, SCALARS:RANKS].reshape(-1, HORIZONS, CLASSES).softmax(-1)
        misses = shares.cumsum(-1)[..., :-1] - cumulative.reshape(-1, HORIZONS, CLASSES - 1)
        rank = misses.square().sum(-1) / CLASSES
        likelihood = F.cross_entropy(outputs[:, RANKS:], state, reduction="none")
        return torch.cat([variance, mean, binary, rank, likelihood.unsqueeze(1)], dim=1)

    def __call__(self, outputs, batch):
        columns, state, weights = batch
        return (self.each(outputs, columns, state) * weights).sum() / len(outputs)


class SquaredError:
    """The mean squared error over all outputs: what training costs with next to no losses."""

    def __init__(self, rows):
        self.targets = rows["plain"]

    def gather(self, rows):
        return self.targets.index_select(0, rows)

    def __call__(self, outputs, batch):
        return F.mse_loss(outputs, batch)


class Trainer:
    """A network with its optimizer, and one kind of loss."""

    def __init__(self, inputs, losses, recipe):
        widths = [inputs.shape[1], *json.loads(recipe["hidden"])]
        layers = []
        for before, after in zip(widths, widths[1:]):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
        heads = nn.Linear(widths[-1], OUTPUTS)
        nn.init.zeros_(heads.weight)
        nn.init.zeros_(heads.bias)
        self.network = nn.Sequential(*layers, heads)
        self.inputs, self.losses, self.batch_size = inputs, losses, int(recipe["batch_size"])
        # The fused kernel is the fastest of PyTorch's three on a processor.
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=float(recipe["learning_rate"]),
            weight_decay=float(recipe["weight_decay"]),
            eps=1e-8,
            fused=True,
        )

    def steps(self):
        return torch.randperm(len(self.inputs)).split(self.batch_size)

    def step(self, rows, clock=lambda: None):
        inputs, batch = self.inputs.index_select(0, rows), self.losses.gather(rows)
        clock()
        outputs = self.network(inputs)
        clock()
        loss = self.losses(outputs, batch)
        clock()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clock()
        self.optimizer.step()
        clock()

    def train(self, seconds):
        steps, trained = [], 0
        started = time.perf_counter()
        until = started + seconds
        while (now := time.perf_counter()) < until:
            if not steps:
                steps = list(self.steps())
                # The order is not part of what is timed.
                started += time.perf_counter() - now
            rows = steps.pop()
            self.step(rows)
            trained += len(rows)
        return [trained / (now - started)]

    def stages(self, count):
        totals = None
        for rows in self.steps()[:count]:
            times = [time.perf_counter()]
            self.step(rows, lambda: times.append(time.perf_counter()))
            spent = [after - before for before, after in zip(times, times[1:])]
            totals = spent if totals is None else [total + part for total, part in zip(totals, spent)]
        return [total / count for total in totals]


def matmul(trainer, count):
    """Floating point operations a second of a step's matrix products, forward and backward, and of nothing else."""
    rows = trainer.batch_size
    linears = [layer for layer in trainer.network if isinstance(layer, nn.Linear)]
    products, operations = [], 0
    for position, layer in enumerate(linears):
        flow, gradient = torch.randn(rows, layer.in_features), torch.randn(rows, layer.out_features)
        weight = layer.weight.detach()
        pairs = [(flow, weight.t()), (gradient.t(), flow)] + ([(gradient, weight)] if position else [])
        products += pairs
        operations += 2 * len(pairs) * rows * layer.in_features * layer.out_features
    started = time.perf_counter()
    for _ in range(count):
        for left, right in products:
            torch.mm(left, right)
    return [operations * count / (time.perf_counter() - started)]


def check_slopes(losses, rows):
    """The same losses as those of src/learning/loss.rs, or no comparison."""
    outputs = rows["check_outputs"].clone().requires_grad_()
    losses(outputs, losses.gather(torch.arange(len(outputs)))).backward()
    expected = rows["check_slopes"]
    error = ((outputs.grad - expected).abs().max() / expected.abs().max()).item()
    if not error <= SLOPE_TOLERANCE:
        sys.exit(f"the slopes of the losses differ from those of src/learning/loss.rs by {error:.1e} of the largest")


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.manual_seed(threads)
    rows, recipe = read_rows(path)
    losses = Losses(rows, recipe)
    check_slopes(losses, rows)
    kinds = {"all": losses, "squared": SquaredError(rows)}
    trainers = {kind: Trainer(rows["inputs"], losses, recipe) for kind, losses in kinds.items()}
    for trainer in trainers.values():
        trainer.stages(20)
    blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    print(f"ready PyTorch {torch.__version__}, {blas}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["train", kind, seconds]:
                answer = trainers[kind].train(float(seconds))
            case ["stages", kind, count]:
                answer = trainers[kind].stages(int(count))
            case ["matmul", count]:
                answer = matmul(trainers["all"], int(count))
            case other:
                sys.exit(f"{other} is no question")
        print(*answer, flush=True)


main()
