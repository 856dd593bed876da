"""One torch thread, also for what runs before the first import of torch elsewhere."""

import torch

torch.set_num_threads(1)
