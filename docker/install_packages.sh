#!/usr/bin/env bash
# Install into /opt/venv what the project needs, and take out what nothing uses at run time.
#
#   install_packages.sh FLAGS OF pip install      called by the Dockerfile
set -euo pipefail

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore # not options: older versions of pip lack one
/opt/venv/bin/python -m pip install --constraint constraints.txt --no-compile setuptools "$@"

cd /opt/venv/lib/python3.*/site-packages
# Headers, and libclang, are for building extensions of TensorFlow.
rm -rf tensorflow/include clang tensorflow/xla_aot_runtime_src
# LiteRT on a GPU through WebGPU, its vendors' accelerators and developers' tools.
rm -rf ai_edge_litert/libLiteRtWebGpuAccelerator.so ai_edge_litert/tools ai_edge_litert/vendors
# Of CUDA: headers, the solver for several GPUs, and a second build of the run-time compiler; no library names them.
rm -rf nvidia/*/include nvidia/cusolver/lib/libcusolverMg.so.* nvidia/cuda_nvrtc/lib/*.alt.so.*
find numba pandas matplotlib sqlalchemy -type d -name tests -prune -exec rm -rf {} + 2>/dev/null || true # not all are there
# Symbols that only a debugger reads: 0.2 GB of TensorFlow.
find tensorflow llvmlite ai_edge_litert -name '*.so*' -size +4M -exec strip --strip-unneeded {} + 2>/dev/null || true
find . -name __pycache__ -type d -prune -exec rm -rf {} +
/opt/venv/bin/python -m compileall -q -j 0 . || true # some packages have files of other versions of Python
