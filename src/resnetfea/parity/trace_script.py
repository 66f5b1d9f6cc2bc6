"""The lines that write a trace from PyTorch, for `resnetfea trace-script`: they run where torch is, not here.

tests/parity runs them on models of torchvision, and of the shape that maskrcnn-benchmark's and detectron2's have.
"""

SCRIPT = r"""
# Paste beside your model: trace(model.eval(), x) writes trace.npz, for `resnetfea verify W --against trace.npz`.
import math, re, numpy as np, torch
RULES = {r"^.*?\b(stem|conv1|bn1|maxpool|layer[1-4]|res[2-5])\b": r"\1", r"^stem$": "maxpool", r"^stem\.": "",
         r"^res(\d)": lambda m: f"layer{int(m[1]) - 1}", r"conv(\d)\.norm\b": r"bn\1",
         r"shortcut\.norm\b": "downsample.1", r"shortcut\b": "downsample.0"}  # others' names to torchvision's
def renamed(name):
    for pattern, new in RULES.items(): name = re.sub(pattern, new, name)
    return name
def trace(model, x, path="trace.npz", image=None, gradients=False):  # x: (1, 3, H, W); image: its RGB, uint8 (H, W, 3)
    out, maps = {"input": x} | ({} if image is None else {"image": torch.as_tensor(image)}), {}
    def keep(name, value): out.setdefault(name, value.detach().clone())  # the ReLU behind may work in place
    def hook(m, inputs, y, name):
        q = [*(y.values() if hasattr(y, "keys") else y)] if type(m).__name__ in ("FPN", "FeaturePyramidNetwork") else ()
        for i, p in enumerate(q): keep(f"p{i + round(math.log2(x.shape[3] / q[0].shape[3]))}", p)
        if re.fullmatch(r"(layer\d\.\d+\.)?(bn\d|downsample\.1)", name):  # a norm's input is its convolution's output
            keep(name.replace("bn", "conv").replace("sample.1", "sample.0"), inputs[0]), keep(name, y)
        if re.fullmatch(r"maxpool|layer\d\.\d+", name): keep(name, y)
        if re.fullmatch(r"layer\d\.\d+", name): maps[f"c{int(name[5]) + 1}"] = y  # the stage's last block remains
    hooks = [m.register_forward_hook(lambda m, i, y, n=renamed(n): hook(m, i, y, n)) for n, m in model.named_modules()]
    with torch.set_grad_enabled(gradients): gradients and model.zero_grad(); model(x)
    for handle in hooks: handle.remove()
    for name, y in maps.items(): keep(name, y), gradients and keep("loss." + name, torch.randn_like(y))
    if gradients: torch.autograd.backward(*zip(*((y, out["loss." + c]) for c, y in maps.items() if y.requires_grad)))
    out |= {"grad." + renamed(n): p.grad for n, p in model.named_parameters() if gradients and p.grad is not None}
    np.savez(path, **{name: value.detach().cpu().numpy() for name, value in out.items()})
""".lstrip()
