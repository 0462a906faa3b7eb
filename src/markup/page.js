// Fetches the page again now and then and exchanges what has changed. What stays the same is left alone, so that
// selection, focus and scrolling stay where they are. And copies.
"use strict";
(() => {
  const KEPT = ["hidden", "open"];

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null);

  function isLike(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
  }

  function exchangeAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !KEPT.includes(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (!KEPT.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  // Makes `old` like `fresh`, which is used up.
  function exchange(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    exchangeAttributes(old, fresh);
    const keys = new Set([...fresh.childNodes].map(keyOf).filter((key) => key !== null));
    for (const child of [...old.childNodes]) {
      const key = keyOf(child);
      if (key !== null && !keys.has(key)) child.remove();
    }
    const keyed = new Map([...old.childNodes].map((child) => [keyOf(child), child]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = keyOf(wanted);
      const known = key === null ? at : keyed.get(key);
      if (known && isLike(known, wanted)) {
        if (known === at) at = at.nextSibling;
        else old.insertBefore(known, at);
        exchange(known, wanted);
      } else {
        old.insertBefore(wanted, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // A row that moves takes its focus and its selection along, which the browser forgets on the way.
  function keeping(work) {
    const selection = getSelection();
    const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = selection;
    const focused = document.activeElement;
    work();
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    const isThere = anchorNode?.isConnected && focusNode?.isConnected;
    const isLost = selection.anchorNode !== anchorNode || selection.focusNode !== focusNode;
    if (!isCollapsed && isThere && isLost) {
      const within = (node, offset) => Math.min(offset, node.nodeValue?.length ?? node.childNodes.length);
      selection.setBaseAndExtent(
        anchorNode, within(anchorNode, anchorOffset), focusNode, within(focusNode, focusOffset));
    }
  }

  async function refresh(live) {
    const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
    if (!answer.ok) throw new Error(`the exporter answers ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) throw new Error("the answer is no page");
    const adopted = document.adoptNode(fresh);
    ready(adopted);
    keeping(() => exchange(live, adopted));
  }

  // Buttons are of no use without this script, and so hidden until it is there.
  function ready(root) {
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  async function copy(button) {
    const text = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      // Without TLS there is no clipboard; the older command works there.
      getSelection().selectAllChildren(text);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (button) copy(button);
  });
  ready(document);

  const live = document.getElementById("live");
  const every = Number(live?.dataset.every);
  if (!every) return;
  const choice = document.getElementById("refresh");
  const box = choice?.querySelector("input");
  const trouble = document.getElementById("trouble");
  if (choice) choice.hidden = false;

  async function again() {
    if (!document.hidden && (!box || box.checked)) {
      try {
        await refresh(live);
        trouble.textContent = "";
      } catch (error) {
        trouble.textContent = `Not refreshed: ${error.message}.`;
      }
    }
    setTimeout(again, every * 1000);
  }
  setTimeout(again, every * 1000);
})();
