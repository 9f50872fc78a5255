// Airflow shows this page in a frame that may open no window. A link of Airflow's own document may, so one is pressed there.
"use strict";
addEventListener("click", (event) => {
  const link = event.target.closest("a[target=_blank]");
  if (link === null || window.top === window) {
    return;
  }
  event.preventDefault();
  const outside = window.top.document.createElement("a");
  outside.href = link.href;
  outside.target = "_blank";
  outside.rel = "noopener";
  outside.click();
});
