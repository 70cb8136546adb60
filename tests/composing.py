"""Hydra's own loader on conf/, without a command line."""

import copy
import functools
import itertools

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from dreg_sweep.config import conf_dir


@functools.cache
def loader_and_master(*overrides):
    """A loader and the configuration of a multirun command with these overrides."""
    setup_globals()  # the hydra: resolver
    Plugins.instance()  # what conf/ names under hydra/
    loader = ConfigLoaderImpl(create_config_search_path(str(conf_dir())))
    return loader, loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)


def experiment_jobs(name, **axes):
    """The master of an experiment, and its jobs with some axes replaced."""
    loader, master = loader_and_master(f"experiment={name}")
    params = {**master.hydra.sweeper.params, **axes}
    values = [[f"{key}={value}" for value in str(levels).split(",")] for key, levels in params.items()]
    return loader, master, [[f"experiment={name}", *job] for job in itertools.product(*values)]


def composed_by_hydra(loader, master, job):
    """What Hydra itself hands to a job."""
    config = loader.load_sweep_config(master, list(job))
    HydraConfig.instance().set_config(config)
    task = copy.deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    return OmegaConf.to_container(task, resolve=True)
