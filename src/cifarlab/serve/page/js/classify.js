// @ts-check
/** Keeps store.prediction the answer for the present picture and model: the only place that asks for it. */

import { latest } from "./latest.js";
import { decode, release } from "./picture.js";

const REMEMBERED = 12;

/**
 * @param {{ store: ReturnType<typeof import("./store.js").createStore>, model: any, announce: (text: string) => void }} context
 * Returns open(blob, about): shows and classifies a picture, resolves to it, or to null where it could not be (the reason is in
 * store.problem then); and again(): classifies the present picture anew.
 */
export function createClassifier({ store, model, announce }) {
	const opening = latest();
	const asking = latest();
	/** A large picture that was sent while it was being decoded. @type {{ blob: Blob, name: string, answer: Promise<any> } | null} */
	let early = null;

	async function again() {
		const picture = store.get("picture");
		const name = store.get("model");
		if (!picture || !name) return asking.cancel();
		store.set({ prediction: null, problem: null, busy: true });
		try {
			const sent = early && early.blob === picture.blob && early.name === name ? early.answer : null;
			early = null;
			const answer = await asking((signal) => sent ?? model.predict(picture.blob, { model: name, signal }));
			if (!answer) return; // superseded
			const prediction = { ...answer, picture, model: name };
			store.set({ prediction, busy: false, history: remembered(store.get("history"), picture, prediction) });
			announce(
				`${answer.label}, ${Math.round(100 * answer.predictions[0].probability)} percent${answer.unlike ? ", unlike the training data" : ""}`,
			);
		} catch (error) {
			store.set({ busy: false, problem: /** @type {Error} */ (error).message });
			announce(`No answer: ${/** @type {Error} */ (error).message}`);
		}
	}

	/** @param {Blob} blob @param {AbortSignal} signal aborted when another picture is opened */
	function send(blob, signal) {
		const name = store.get("model");
		if (signal.aborted || !name) return;
		early = { blob, name, answer: model.predict(blob, { model: name, signal }) };
		early.answer.catch(() => {}); // told by whoever asks for the answer
	}

	/** @param {Blob} blob @param {{ name?: string, label?: string | null, origin?: string, said?: any }} [about] */
	async function open(blob, about) {
		asking.cancel();
		store.set({ busy: true, problem: null });
		try {
			early = null;
			const picture = await opening(async (signal) => {
				const found = await decode(blob, about, (file) => send(file, signal));
				if (signal.aborted) release(found);
				return found;
			});
			if (!picture) return null;
			store.set({ picture, prediction: null });
			return picture;
		} catch (error) {
			// What was there before stays, so that the page remains usable.
			store.set({ busy: false, problem: /** @type {Error} */ (error).message });
			announce(/** @type {Error} */ (error).message);
			return null;
		}
	}

	/** Show a picture of the history again. @param {any} picture */
	function reopen(picture) {
		opening.cancel();
		if (picture !== store.get("picture")) store.set({ picture, prediction: null });
		else if (store.get("prediction")) store.set({ busy: false, problem: null });
		else void again();
	}

	store.on(["picture", "model"], again);
	return { open, reopen, again };
}

/** @param {any[]} history @param {any} picture @param {any} prediction */
function remembered(history, picture, prediction) {
	const others = history.filter((entry) => entry.picture !== picture);
	for (const { picture: old } of others.slice(REMEMBERED - 1)) release(old);
	// A picture looked at again keeps its place, so that the strip does not jump under the pointer.
	const at = history.findIndex((entry) => entry.picture === picture);
	if (at >= 0) return history.map((entry, index) => (index === at ? { picture, prediction } : entry));
	return [{ picture, prediction }, ...others.slice(0, REMEMBERED - 1)];
}
