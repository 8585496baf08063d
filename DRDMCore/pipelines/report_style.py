"""The look of `report.html`: light or dark as the reader's system is set; prints well."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5c6670; --line: #d9dee3;
  --page: #f6f7f9; --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ae;
  --line: #353c43; --page: #14181c; --card: #1d2228; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 10px; overflow-wrap: anywhere; }
small { font-weight: normal; color: var(--soft); margin-left: 6px; }
.lead { max-width: 80ch; margin: 0 0 18px; }
section, .legend, details { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 18px 20px; margin: 0 0 18px; }
.legend { display: flex; flex-wrap: wrap; gap: 12px 48px; }
.legend h2 { font-size: 14px; margin-bottom: 6px; }
.legend ul { display: flex; flex-wrap: wrap; gap: 2px 18px; list-style: none; margin: 0;
  padding: 0; max-width: 380px; }
.legend p { margin: 0; max-width: 34ch; color: var(--soft); font-size: 14px; }
.bar { width: 240px; margin-bottom: 4px; }
.bar img { display: block; width: 100%; height: 12px; border-radius: 3px; }
.ticks { display: flex; justify-content: space-between; font-size: 12px; color: var(--soft); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  margin-right: 7px; vertical-align: -1px; border: 1px solid #8888; }
.pictures { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 6px 14px;
  justify-items: center; align-items: center; }
.pictures b { font-size: 14px; }
.pictures img { display: block; border-radius: 4px; }
.view { grid-column: 1 / -1; justify-self: stretch; margin: 2px 0 0; font-size: 13px;
  color: var(--soft); border-top: 1px solid var(--line); padding-top: 4px; }
.tables { display: flex; flex-wrap: wrap; gap: 12px 56px; align-items: flex-start;
  margin-top: 16px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
th, td { padding: 3px 0 3px 18px; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th:first-child { text-align: left; padding-left: 0; font-weight: normal; }
thead th { color: var(--soft); font-weight: normal; white-space: nowrap; }
td { white-space: nowrap; }
.unit { text-align: left; padding-left: 6px; color: var(--soft); }
summary { cursor: pointer; font-weight: 600; }
details table { margin-top: 10px; width: 100%; }
details th, details td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
details td { font-family: ui-monospace, Consolas, "DejaVu Sans Mono", monospace; font-size: 13px; }
@media (max-width: 640px) { main { padding: 16px 12px; } .tables { gap: 16px; } }
@media print { section { break-inside: avoid; } }
"""
