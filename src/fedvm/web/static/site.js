"use strict";
// Copy buttons, live pages, and forms that show what the server found. Without this script the pages still say all they say.

const say = (text) => { document.getElementById("announce").textContent = text; };

function prepare(root) {
  for (const button of root.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
      say("Copied.");
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }
}

// The server's own page, read again when the index has changed. What somebody is using now is left as it is.
async function follow() {
  const here = document.querySelector(".live");
  let revision = document.body.dataset.revision;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1500));
    if (document.hidden) continue;
    try {
      const told = await (await fetch("/live.json")).json();
      if (String(told.revision) === revision) continue;
      const selected = !window.getSelection().isCollapsed;
      if (selected || here.contains(document.activeElement)) continue;
      const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
      const fresh = page.querySelector(".live");
      if (!fresh) continue;
      const open = [...here.querySelectorAll("details")].map((one) => one.open);
      here.replaceChildren(...fresh.childNodes);
      [...here.querySelectorAll("details")].forEach((one, at) => { one.open = Boolean(open[at]); });
      document.querySelector("footer p").replaceChildren(...page.querySelector("footer p").childNodes);
      document.querySelector(".brand").textContent = page.querySelector(".brand").textContent;
      document.title = page.title;
      revision = String(told.revision);
      prepare(here);
      const now = here.querySelector(".now p");
      if (now) say(now.textContent);
    } catch {
      // The server was stopped: the page stays as it is.
    }
  }
}

function checks() {
  for (const form of document.querySelectorAll("form.check")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button"), result = form.parentElement.querySelector(".result");
      button.disabled = true;
      result.textContent = "Working…";
      try {
        const answer = await fetch(form.dataset.post, { method: "POST" });
        result.innerHTML = await answer.text(); // made by the server's own templates, which escape everything
      } catch {
        result.textContent = "The server does not answer.";
      }
      button.disabled = false;
    });
  }
}

document.addEventListener("DOMContentLoaded", () => {
  prepare(document);
  checks();
  if ("live" in document.body.dataset) follow();
});
