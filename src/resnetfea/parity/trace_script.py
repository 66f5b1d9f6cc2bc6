"""The lines that write a trace from PyTorch, for `resnetfea trace-script`: they run where torch is, not here.

tests/parity runs them on models of torchvision, and of the shape that maskrcnn-benchmark's and detectron2's have.
"""

SCRIPT = r"""
import functools, math, re, numpy as np, torch  # paste beside your model: trace(model.eval(), x) writes trace.npz
NEXT = lambda word, add: lambda m: f"{word}{int(m[1]) + add}"
RULES = {r"^.*\bembedder\.pooler$": "maxpool", r"^.*\bembedder\.embedder": "stem.layer.0",  # to torchvision's names
         r"^.*\bstages\.(\d)\.layers": NEXT("layer", 1), r"layer\.(\d)\.normal\w+": NEXT("bn", 1), r"\bgn(\d)": r"bn\1",
         r"layer\.(\d)\.conv\w+": NEXT("conv", 1), r"^.*?\b(stem|conv1|bn1|maxpool|layer[1-4]|res[2-5])\b": r"\1",
         r"^stem$": "maxpool", r"^stem\.": "", r"^res(\d)": NEXT("layer", -1), r"conv(\d)\.norm\b": r"bn\1",
         r"conv2[._](conv_)?offset": "conv2.offset", r"conv2\.conv\.": "conv2.",
         r"shortcut\.norm\w*": "downsample.1", r"shortcut(\.conv\w+)?": "downsample.0"}
def renamed(name): return functools.reduce(lambda name, rule: re.sub(*rule, name), RULES.items(), name)
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
    with torch.set_grad_enabled(gradients): gradients and model.zero_grad(); model(x); [one.remove() for one in hooks]
    for name, y in maps.items(): keep(name, y), gradients and keep("loss." + name, torch.randn_like(y))
    if gradients: torch.autograd.backward(*zip(*((y, out["loss." + c]) for c, y in maps.items() if y.requires_grad)))
    out |= {"grad." + renamed(n): p.grad for n, p in model.named_parameters() if gradients and p.grad is not None}
    np.savez(path, **{name: value.detach().cpu().numpy() for name, value in out.items()})
""".lstrip()
