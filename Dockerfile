# One image for Airflow's components, its workers and the predictor. Built without BuildKit too.
FROM python:3.11-slim-bookworm AS build

# The system's certificates, so that a base image that trusts a proxy of one's own is enough to build behind it.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_PYTHON=/usr/local/bin/python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

WORKDIR /app
# What seldom changes first: a change of the code does not install Airflow and TensorFlow again.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --extra deployment --no-install-project
COPY README.md LICENSE NOTICE ./
COPY include include
RUN /opt/uv/bin/uv sync --frozen --no-dev --extra deployment

# A file of ImageNet's weights in deploy/weights/ is taken; else they are downloaded; else the build says so and goes on.
COPY deploy/weights /opt/weights
ENV KERAS_HOME=/opt/keras
RUN mkdir -p "$KERAS_HOME/models" && rm -f /opt/weights/.gitkeep \
 && if [ -n "$(ls /opt/weights)" ]; then \
      cp /opt/weights/*.h5 "$KERAS_HOME/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"; \
    elif [ "$(.venv/bin/skinlesion weights --or-drawn)" = drawn ]; then \
      echo "THE IMAGE HOLDS NO IMAGENET WEIGHTS: put Keras's .h5 file into deploy/weights/ and build again," \
           "or trigger runs with weights=drawn." >&2; \
    fi


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 skinlesion \
 && useradd --uid 10001 --gid 10001 --home-dir /home/skinlesion --create-home --shell /usr/sbin/nologin skinlesion \
 # Named volumes take their owner from these folders when they are first mounted.
 && install -d -o skinlesion -g skinlesion /app /app/dataset /app/models /opt/airflow /opt/airflow/logs /var/lib/queue \
      /var/lib/mlflow /var/lib/proxy \
 && chown root:root /app

WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY --from=build /opt/keras /opt/keras
COPY deploy/image /app/bin
COPY pyproject.toml uv.lock README.md LICENSE NOTICE ./
COPY include include
COPY plugins plugins
COPY dags dags

# The revision that models are recorded with: git is not in the image.
ARG GIT_REVISION=""
ENV PATH=/app/bin:/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GIT_REVISION=$GIT_REVISION \
    KERAS_HOME=/opt/keras \
    MPLCONFIGDIR=/tmp/matplotlib \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

USER 10001:10001
# What runs in a container is told by its command; each names the health check that belongs to it.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["healthy"]
CMD ["airflow", "version"]
