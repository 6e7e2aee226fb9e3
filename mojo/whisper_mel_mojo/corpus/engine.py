"""Ray, which has its workers make shards, on all CPUs of a machine or of a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray
import ray.data

from whisper_mel_mojo.corpus.files import CorpusError
from whisper_mel_mojo.corpus.manifest import Output, Settings, Task
from whisper_mel_mojo.corpus.worker import make_shard

STARTS = 5
"""Number of Ray's attempts to start, of half a minute each, which busy machines may exceed."""
BLOCKS = 10_000
"""Largest number of pieces that Ray Data divides the shards into."""


@contextmanager
def running_ray(cpus: int | None) -> Iterator[int]:
    """Start Ray on this machine or join the cluster of $RAY_ADDRESS; yield the number of CPUs.

    ``cpus`` is how many of this machine it uses, None for all. It has no output of its own.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {"address": "local", "include_dashboard": False, "num_cpus": cpus}
    where = {} if os.environ.get("RAY_ADDRESS") else here
    for patience in reversed(range(STARTS)):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **where)
            break
        except UnicodeEncodeError as error:
            ray.shutdown()
            raise CorpusError(
                "Ray takes no command line with names that are not UTF-8: name a folder above"
            ) from error
        except Exception as error:  # Ray raises no type of its own
            ray.shutdown()
            if "timed out during startup" not in str(error) or not patience:
                raise CorpusError(f"Ray does not start: {error}") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield int(ray.cluster_resources().get("CPU", 0))
    except ray.exceptions.RayError as error:
        raise CorpusError(f"Ray failed: {str(error).splitlines()[0]}") from error
    finally:
        ray.shutdown()


def make_shards(
    tasks: list[Task], output: Output, settings: Settings, columns: pa.Schema
) -> Iterator[dict[str, Any]]:
    """Yield the result of each shard as it is made."""
    todo = [task.as_row() for task in tasks]
    blocks = ray.data.from_items(todo, override_num_blocks=min(len(todo), BLOCKS))
    arguments = (output.folder.absolute(), settings, columns)
    yield from blocks.map(make_shard, fn_args=arguments, num_cpus=1).iter_rows()
