# One image: code and weights inside. It runs as any user, without network, home or shared memory, on a root file system
# that is read-only; it writes to the output folder and to TMPDIR, and nowhere else.
FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="htcnns" \
      org.opencontainers.image.description="Brain-tumour segmentation of MRI: a folder of scans in, labelled masks out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

# A slim base sets neither, and the nvidia runtime then gives no GPU without a word.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# First what seldom changes: the packages that pyproject.toml names. The code comes last and is used where it lies.
WORKDIR /opt/htcnns
COPY LICENSE pyproject.toml .constraints.txt ./
RUN python3 -m venv venv \
 && venv/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > venv/dependencies.txt \
 && venv/bin/pip install --no-cache-dir --constraint .constraints.txt setuptools -r venv/dependencies.txt
COPY weights weights
COPY entrypoint.py ./
COPY htcnns htcnns
RUN venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .

# Any user must be able to read what a checkout with a strict umask brought; bytecode cannot be written later;
# and weights that are missing or damaged must stop the build, not a run.
RUN find entrypoint.py htcnns weights ! -perm -444 -exec chmod a+rX {} + \
 && venv/bin/python -m compileall -q htcnns \
 && venv/bin/htcnns weights verify
# MONAI, which Swin UNETR needs, asks for the user's name when it is imported; a number without one must do.
ENV PATH=/opt/htcnns/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    LOGNAME=htcnns
WORKDIR /

# -I: a PYTHONPATH or ~/.local from outside, which Apptainer lets through, must not shadow what is installed here.
ENTRYPOINT ["/opt/htcnns/venv/bin/python", "-IB", "/opt/htcnns/entrypoint.py"]
