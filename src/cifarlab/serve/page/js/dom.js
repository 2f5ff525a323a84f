// @ts-check
/** Elements without markup in strings: all text becomes text nodes, so a name with tags in it stays a name. */

/** @typedef {Node | string | number | null | undefined | false | any[]} Child lists are flattened, however deep */

/**
 * An element: h("button.quiet", { onclick: go, disabled: busy, style: { "--share": 0.3 } }, "Go") or h("p.small.muted", "Gone").
 *
 * Attributes: on* functions become listeners; true, false and null set or leave out an attribute; `style` is an object of CSS
 * properties (set through the object model, which the page's Content-Security-Policy allows); `dataset` an object, `testid` one
 * entry of it; PROPERTIES are set as such. Buttons submit nothing unless their type says so.
 * @param {string} name tag and classes @param {...(Record<string, any> | Child)} rest attributes, where there are any, and children
 * @returns {any}
 */
export function h(name, ...rest) {
	const [tag, ...classes] = name.split(".");
	return fill(document.createElement(tag), tag === "button" ? { type: "button" } : {}, classes, rest);
}

/** As `h`, for SVG. @param {string} name @param {...(Record<string, any> | Child)} rest @returns {any} */
export function svg(name, ...rest) {
	const [tag, ...classes] = name.split(".");
	return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), {}, classes, rest);
}

/** Put `children` in place of what `parent` holds. @param {Element} parent @param {...Child} children */
export function replace(parent, ...children) {
	parent.replaceChildren(...nodes(children));
}

const PROPERTIES = new Set(["value", "checked", "srcObject", "muted", "indeterminate", "selected"]);

/** @param {any} element @param {Record<string, any>} usual attributes @param {string[]} classes @param {any[]} rest */
function fill(element, usual, classes, rest) {
	const [first, ...others] = rest;
	const hasAttributes = first && Object.getPrototypeOf(first) === Object.prototype;
	const attributes = hasAttributes ? { ...usual, ...first } : usual;
	if (classes.length) attributes.class = [...classes, attributes.class ?? []].flat().join(" ");
	element.append(...nodes(hasAttributes ? others : rest)); // first: a select takes its value only from options that are there
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else if (name === "style") for (const [property, given] of Object.entries(value)) element.style.setProperty(property, String(given));
		else if (name === "dataset") Object.assign(element.dataset, value);
		else if (name === "testid") element.dataset.testid = value;
		else if (PROPERTIES.has(name)) element[name] = value;
		else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
	}
	return element;
}

/** @param {any[]} children @returns {(Node | string)[]} */
function nodes(children) {
	return children
		.flat(Infinity)
		.filter((child) => child !== null && child !== undefined && child !== false)
		.map((child) => (child instanceof Node ? child : String(child)));
}

/** A whole number as text, its thousands apart: 551978 -> "551 978". @param {number} value */
export const whole = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");

/**
 * A share as text: 0.934 -> "93.4 %", its space unbreakable. Never "100 %" for less than all, nor "0 %" for more than nothing.
 * @param {number} share
 */
export function percent(share) {
	if (share > 0 && share < 0.0005) return "< 0.1\u00a0%";
	if (share < 1 && share > 0.9995) return "> 99.9\u00a0%";
	return `${(100 * share).toFixed(share === 0 || share === 1 ? 0 : 1)}\u00a0%`;
}
