// @ts-check
/** Tabs and addresses: "#/errors?run=demo&true=cat" shows the panel errors with { run: "demo", true: "cat" }. */

import { h, replace } from "./dom.js";

/**
 * @param {{ config: any, area: HTMLElement, fail: (error: unknown) => void, context: () => any }} given
 */
export function createRouter({ config, area, fail, context }) {
  /** @type {Map<string, { section: HTMLElement, loading: Promise<any> }>} */
  const opened = new Map();
  /** @type {{ id: string, panel: any } | null} */
  let shown = null;
  let failures = 0; // browsers remember by its address that a module did not arrive, so the next attempt needs another address
  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Views", onkeydown: keys }, config.panels.map(tab));

  /** @param {string} id */
  function tab(id) {
    const attributes = { role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, "aria-selected": "false", tabindex: "-1" };
    return h("button", { type: "button", ...attributes, dataset: { testid: `tab-${id}`, title: config.titles[id] }, onclick: () => navigate(id) }, config.titles[id]);
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    const at = config.panels.indexOf(current());
    const last = config.panels.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    navigate(config.panels[to]);
    document.getElementById(`tab-${config.panels[to]}`)?.focus();
  }

  function parsed() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const id = config.panels.includes(path) ? path : config.panels[0];
    return { id, params: grouped(new URLSearchParams(query ?? "")) };
  }

  /** @param {string} id @param {Record<string, any>} [params] */
  function address(id, params = {}) {
    const given = Object.entries(params).flatMap(([name, values]) => [values].flat().map((value) => [name, value])).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return `#/${id}${query ? `?${query}` : ""}`;
  }

  /** @param {string} id @param {Record<string, any>} [params] */
  function navigate(id, params = {}) {
    const to = address(id, params);
    if (location.hash === to) void render();
    else location.hash = to;
  }

  /** @param {Record<string, any>} params */
  function remember(params) {
    history.replaceState(null, "", address(current(), params));
  }

  function current() {
    return parsed().id;
  }

  async function render() {
    const { id, params } = parsed();
    for (const each of config.panels) {
      const button = /** @type {HTMLElement} */ (tabs.querySelector(`#tab-${each}`));
      button.setAttribute("aria-selected", String(each === id));
      button.tabIndex = each === id ? 0 : -1;
      const section = opened.get(each)?.section;
      if (section) section.hidden = each !== id;
      if (each === id) reveal(button);
    }
    document.title = id === config.panels[0] ? "cifarlab" : `${config.titles[id]} - cifarlab`;
    if (shown && shown.id !== id) {
      shown.panel.hide?.();
      shown = null;
    }
    try {
      const panel = await (opened.get(id) ?? load(id)).loading;
      if (parsed().id !== id) return; // another tab was opened meanwhile
      shown = { id, panel };
      panel.show?.(params);
    } catch (error) {
      fail(error);
    }
  }

  /** On a phone the row of tabs scrolls. @param {HTMLElement} button */
  function reveal(button) {
    tabs.scrollLeft = Math.max(0, button.offsetLeft - tabs.offsetLeft - tabs.clientWidth / 2 + button.offsetWidth / 2);
  }

  /** @param {string} id */
  function load(id) {
    const section = h("section", { role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, class: `panel panel-${id}`, dataset: { testid: `panel-${id}` } });
    section.append(h("p", { class: "loading", role: "status" }, "Loading…"));
    area.append(section);
    const loading = create(id, section).catch((error) => {
      // Forgotten, so that the next visit tries anew.
      opened.delete(id);
      section.remove();
      throw new Error(`The panel ${config.titles[id]} cannot be loaded: ${error.message}`);
    });
    const entry = { section, loading };
    opened.set(id, entry);
    return entry;
  }

  /** @param {string} id @param {HTMLElement} section */
  async function create(id, section) {
    const { default: definition } = await fetched(id);
    await Promise.all((definition.styles ?? []).map(stylesheet));
    const panel = definition.create(context());
    replace(section, panel.element);
    return panel;
  }

  /** @param {string} id */
  async function fetched(id) {
    try {
      return await import(`./panels/${id}.js${failures ? `?again=${failures}` : ""}`);
    } catch (error) {
      failures += 1;
      throw error instanceof TypeError ? new Error("its file does not arrive. Choose it again once the connection is back") : error;
    }
  }

  function start() {
    addEventListener("hashchange", () => void render());
    // The link's own jump would put its target where the panel's address is.
    document.querySelector(".skip")?.addEventListener("click", (event) => {
      event.preventDefault();
      area.focus();
    });
    void render();
  }

  return { tabs, navigate, remember, current, params: () => parsed().params, start };
}

/** By name; a name that is given several times has a list of its values. @param {URLSearchParams} query @returns {Record<string, any>} */
function grouped(query) {
  return Object.fromEntries([...new Set(query.keys())].map((name) => [name, query.getAll(name)]).map(([name, values]) => [name, values.length > 1 ? values : values[0]]));
}

/** @param {string} name a file in css/ */
function stylesheet(name) {
  return new Promise((done, failed) => {
    const href = new URL(`../css/${name}`, import.meta.url).href;
    const link = h("link", { rel: "stylesheet", href, onload: done, onerror: () => failed(new Error(`${name} is missing`)) });
    document.head.append(link);
  });
}
