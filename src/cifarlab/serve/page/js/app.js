// @ts-check
/**
 * The shell: tabs, addresses, theme, announcements, and what is dropped or pasted anywhere.
 *
 * A panel is a file panels/ID.js, loaded when its tab is first opened:
 *
 *   export default {
 *     id: "why", title: "Why", styles: ["why.css"],        // styles: files in css/, loaded before create (optional)
 *     create(context) { return { element, show(params) {}, hide() {} } },
 *   };
 *
 * show(params) is called each time the panel comes into view or its address changes (params: the hash's query as an object, so
 * "#/errors?true=cat" gives { true: "cat" }); hide() when it leaves. A hidden panel does no work: what it heard from the store
 * meanwhile it catches up on in show. The element is put into a <section role="tabpanel"> that is labelled by its tab.
 *
 * context = {
 *   api       api.js: json, blob, stream; null in the static site
 *   model     model-http.js or model-onnx.js
 *   store     store.js
 *   config    config.js
 *   navigate(panel, params)   go to a panel; adds an entry to the browser's history
 *   remember(params)          keep the panel's present state in the address, without a new entry and without calling show
 *   open(blob, about)         show and classify a picture (about: { name, label, origin }); resolves to it, or null with store.problem set
 *   reopen(picture)           show a picture of store.history again
 *   again()                   classify the present picture anew
 *   pick()                    open the file chooser
 *   announce(text)            tell it to screen readers
 *   fail(error)               show an error's message in the corner; AbortErrors are left out
 * }
 */

import config from "./config.js";
import { createApi } from "./api.js";
import { createClassifier } from "./classify.js";
import { h } from "./dom.js";
import { arriving, picker } from "./arriving.js";
import { createRouter } from "./router.js";
import { header, notices, offline } from "./shell.js";
import { createStore } from "./store.js";
import { askToken } from "./token.js";

const store = createStore();
const { announce, fail, element: noticeArea } = notices();
const api = createApi({ askToken, online: (answers) => store.set({ online: answers }) });
const { createModel } = await import(`./model-${config.backend}.js`);
const model = createModel(api);
const classifier = createClassifier({ store, model, announce });
const panelArea = h("main", { id: "panels", tabindex: "-1" });
const router = createRouter({ config, area: panelArea, fail, context: () => context, always, lost });
const context = {
	api: config.backend === "http" ? api : null,
	model,
	store,
	config,
	navigate: router.navigate,
	remember: router.remember,
	open: classifier.open,
	reopen: classifier.reopen,
	again: classifier.again,
	pick: picker((file) => receive(file, "file")),
	announce,
	fail,
};

/** A panel's files did not arrive: whether the server is gone shows the next answer, and its return has the panel loaded. */
function lost() {
	if (config.backend === "http") api.json("v2/health/live").catch(() => {});
}

/** What the address of a panel holds besides its own: the model, where there is a choice, and the example. @param {string} panel */
function always(panel) {
	if (["runs", "errors"].includes(panel)) return {};
	const picture = store.get("picture");
	return {
		...(store.get("models").length > 1 && panel !== "compare" ? { model: store.get("model") } : {}), // Compare names two
		...(picture ? { example: picture.origin === "example" ? picture.name : null } : {}),
	};
}

/** A picture that came by drop, paste or file chooser. @param {File} file @param {string} origin */
async function receive(file, origin) {
	const picture = await classifier.open(file, { name: file.name, origin });
	// Panels about the present picture show it themselves; the others know nothing of it.
	if (["runs", "errors"].includes(router.current())) router.navigate("try");
	// Only Try says what is wrong with a file in its own place.
	else if (!picture && store.get("problem") && router.current() !== "try") fail(new Error(store.get("problem")));
}

const above = [header({ config, store, tabs: router.tabs }), offline(store, check)];
if (config.backend === "onnx") above.push((await import("./widgets/downloading.js")).downloading(model));
document.querySelector("#app")?.replaceChildren(...above, panelArea, noticeArea);
arriving({ receive, fail });
addEventListener("hashchange", follow); // before the router shows the panel
store.on("online", () => store.get("online") && router.retry());
router.start();
await begin();

/** The models, the examples, and the first picture, so that something is to be seen without a click. */
async function begin() {
	try {
		store.set({ models: await model.list() });
	} catch (error) {
		store.set({ problem: /** @type {Error} */ (error).message });
		return fail(error);
	}
	store.on("model", examples);
	store.set({ model: modelOf(router.params()) ?? store.get("models")[0].name });
	// The bare address stays until something is chosen.
	store.on(["model", "picture"], () => (location.hash || store.get("history").length) && router.remember(router.params()));
}

/** The model that an address names, if it is served. @param {Record<string, any>} params @returns {string | undefined} */
function modelOf({ model: wanted }) {
	return store.get("models").find((/** @type {any} */ one) => one.name === wanted)?.name;
}

/** The address was changed by hand or by Back: its model and example are taken. */
function follow() {
	const params = router.params();
	store.set({ model: modelOf(params) ?? store.get("model") });
	const picture = store.get("picture");
	const isShown = picture?.origin === "example" && picture.name === params.example;
	const example = (store.get("examples") ?? []).find((/** @type {any} */ one) => one.name === params.example);
	if (picture && example && !isShown) void openExample(example, () => store.get("picture") === picture);
}

/** @param {any} example @param {() => boolean} wanted whether it still is, once it has arrived */
async function openExample(example, wanted) {
	try {
		const blob = await model.load(example.url);
		if (wanted()) await classifier.open(blob, { name: example.name, label: example.label, origin: "example" });
	} catch (error) {
		fail(error);
	}
}

async function examples() {
	const name = store.get("model");
	try {
		const found = await model.examples({ model: name });
		if (name !== store.get("model")) return;
		store.set({ examples: found });
		const free = () => !store.get("picture") && !store.get("busy");
		const first = found.find((/** @type {any} */ one) => one.name === router.params().example) ?? found[0];
		if (first && free()) await openExample(first, free);
	} catch (error) {
		fail(error);
	}
}

/** Whether the server answers again. */
async function check() {
	await api.json("v2/health/live");
	if (!store.get("models").length) await begin();
	else if (!store.get("prediction")) await classifier.again();
}
