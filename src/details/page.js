// Fetches the page again now and then and exchanges what is live. Focus and scrolling stay where they are.
"use strict";
(() => {
  const EVERY = 5000;
  const choice = document.getElementById("refresh");
  const box = choice.querySelector("input");
  const trouble = document.getElementById("trouble");
  choice.hidden = false;

  const keyed = (root, key) => [...root.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);

  async function refresh() {
    const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
    if (!answer.ok) throw new Error(`the exporter answers ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [old, live] = [document.getElementById("live"), page.getElementById("live")];
    if (!live) throw new Error("the answer is no page");
    const key = document.activeElement?.dataset?.key;
    const inTable = document.activeElement?.classList?.contains("scroll");
    const scrolled = old.querySelector(".scroll")?.scrollLeft ?? 0;
    old.replaceWith(document.adoptNode(live));
    const region = live.querySelector(".scroll");
    if (region) region.scrollLeft = scrolled;
    const focus = key ? keyed(live, key) : inTable ? region : null;
    focus?.focus({ preventScroll: true });
  }

  async function again() {
    if (box.checked && !document.hidden) {
      try {
        await refresh();
        trouble.textContent = "";
      } catch (error) {
        trouble.textContent = `Not refreshed: ${error.message}.`;
      }
    }
    setTimeout(again, EVERY);
  }
  setTimeout(again, EVERY);
})();
