"""MosaicML Streaming imports PyTorch, torchvision and transformers, which its reading of files never calls: names without anything behind them."""
import importlib.abc, importlib.machinery, importlib.util, sys, types


class Anything(type):
    def __getattr__(cls, name):
        return Anything(name, (), {}) if not name.startswith("__") else super().__getattribute__(name)


class Names(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Names(spec.name)

    def exec_module(self, module):
        pass


absent = {
    name
    for name in (
        "torch torchvision transformers boto3 botocore google azure oci paramiko snappy"
    ).split()
    if importlib.util.find_spec(name) is None
}
sys.meta_path.append(Finder())
