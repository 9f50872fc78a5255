"""The page of the skin-lesion models: what skin_lesion_models.py shows in Airflow's UI. Loaded by the API server alone.

application.py   the addresses, and the answer to each
review.py        the page Review: images that people look at, and what they say of them
pages.py         how a page is made from its template; a page of a long list
access.py        who may read, who may switch, who may review: Airflow's login and roles
own_form.py      check that a change comes from this page's own form (CSRF)
version_file.py  a version's report, plots and figures, unable to act on behalf of the person who views them
run_version.py   which version a run of a DAG is about, and why it failed
switched_off.py  which of the two nightly DAGs is paused
in_use.py        the page "In use": what the monitor found in the prediction log
trend_chart.py   a figure over the nights, as SVG
"""
