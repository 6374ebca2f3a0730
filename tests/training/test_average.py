"""The moving average of weights."""

import torch
from torch import nn

from htcnns.training.average import WeightAverage


def linear(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_the_average_worked_by_hand() -> None:
    network = linear(0)
    average = WeightAverage(network, 0.5)
    nn.init.constant_(network.weight, 1)
    average.update(network, 100)
    average.update(network, 101)
    assert network.weight.item() == 1
    average.put_into(network)
    assert network.weight.item() == 0.75


def test_the_first_steps_count_more() -> None:
    network = linear(0)
    average = WeightAverage(network, 0.999)
    nn.init.constant_(network.weight, 1)
    average.update(network, 0)
    average.put_into(network)
    assert abs(network.weight.item() - 0.9) < 1e-6


def test_without_decay_the_last_weights_stay() -> None:
    network = linear(0)
    average = WeightAverage(network, 0)
    nn.init.constant_(network.weight, 1)
    average.update(network, 5)
    average.put_into(network)
    assert network.weight.item() == 1
    assert average.state() == {}


def test_an_average_resumes_from_its_state() -> None:
    one, other = WeightAverage(linear(0), 0.9), WeightAverage(linear(7), 0.9)
    one.update(linear(1), 50)
    other.load(one.state())
    for each in (one, other):
        each.update(linear(2), 51)
    torch.testing.assert_close(one.state(), other.state(), rtol=0, atol=0)
