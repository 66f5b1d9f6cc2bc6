"""What people write today, as short scripts. They run in .venv-bench and know nothing of resnetfea."""
