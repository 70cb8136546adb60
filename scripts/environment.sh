# Sourced by the other scripts: makes .venv with the package in it, and goes into it.
# Installs again only when pyproject.toml has changed. PYTHON names another interpreter than python3.
# usage: source scripts/environment.sh [extra]

extra="${1:-}"
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed; $python is $("$python" --version 2>&1). Set PYTHON to a newer one." >&2
    exit 1
fi
stamp=".venv/installed${extra:+-$extra}"
wanted="$("$python" -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())')"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "Installing into .venv (torch is large: a minute or more) …"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}"
    echo "$wanted" > "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
