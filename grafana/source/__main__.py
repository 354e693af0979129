"""``python -m grafana.source``: write the JSON of all dashboards to grafana/dashboards."""

from grafana.source.files import FOLDER, SHEETS

for name, sheet in SHEETS.items():
    (FOLDER / f"{name}.json").write_text(sheet.json(), encoding="utf-8")
