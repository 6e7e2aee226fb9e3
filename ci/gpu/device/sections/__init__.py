"""The sections of a run, each a module or a part of one; ``gpu.device.plan`` lists them."""
