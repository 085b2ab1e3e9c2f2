"""What uvicorn runs: `uvicorn api.main:app --http api.protocol:BoundedHead`."""

import sys

from api.app import create_app
from services.errors import SettingsError
from services.settings import Settings

try:
    app = create_app(Settings.read())
except SettingsError as error:
    sys.exit(f"rarebit gateway: {error}")
