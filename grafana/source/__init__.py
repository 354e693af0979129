"""The dashboards' source: one module a dashboard, made of panels that are declared once each.

``selection`` names series, ``queries`` makes PromQL of them, ``limits`` says what is good and bad, ``panels``,
``graphs`` and ``tables`` draw it, ``links`` leads on, ``sheet`` puts rows into a dashboard. What several of them have
is in ``shared`` and ``alerts``. ``python -m grafana.source`` writes the JSON.
"""
