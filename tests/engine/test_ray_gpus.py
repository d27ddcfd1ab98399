"""What a worker asks of a cluster that has GPUs, without a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

NODES = [
    {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 4.0}},
    {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 8.0}},
    {"Alive": True, "Resources": {"CPU": 8.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("gpu", "nodes", "required", "places"),
    [
        # One worker per GPU, as long as there is a core for it.
        (True, NODES, {"GPU": 1.0}, 4 + 2),
        (True, [NODES[2]], {}, 8),
        (False, NODES, {}, 16 + 2 + 8),
    ],
)
def test_a_worker_takes_a_gpu_where_there_are_any(monkeypatch, gpu, nodes, required, places):
    from dancecli.engine import ray as engine

    monkeypatch.setattr(engine.ray, "nodes", lambda: nodes)
    assert engine._resources_offered(egress=False, gpu=gpu) == (required, places)


def test_ray_is_asked_for_the_gpu_of_a_worker(monkeypatch, tmp_path):
    from dancecli.engine import ray as engine

    asked = []

    class Actor:
        def options(self, **options):
            asked.append(options)
            return SimpleNamespace(
                remote=lambda *_: SimpleNamespace(start=SimpleNamespace(remote=lambda *_: None))
            )

    monkeypatch.setattr(engine.ray, "remote", lambda _: Actor())
    engine._RayWorker(print, (tmp_path, "token"), {}, 1.0)
    assert (asked[0]["num_gpus"], asked[0]["num_cpus"]) == (1.0, 1)
