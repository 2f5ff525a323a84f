// @ts-check
/** The smallest change of one slider alone that makes the model's answer another. */

/** @typedef {import("./widgets/sliders.js").Spec} Spec */
/** @typedef {{ spec: Spec, value: number, label: string }} Found */

const STEPS = 10; // of the way from neutral to each end
const HALVINGS = 4; // between the last step that changed nothing and the first that did

/**
 * Tries all sliders in both directions, a tenth of their way at a time, so that what is found first is smallest by the share of
 * its slider's way; then halves the last step. Null where nothing changes the answer. `ask` gives the label for one slider's
 * value with all others neutral; `progress` is told the share of the tries that are done.
 * @param {{ specs: Spec[], first: string, ask: (name: string, value: number) => Promise<string>, progress: (share: number) => void, signal: AbortSignal }} given
 * @returns {Promise<Found | null>}
 */
export async function findWeakSpot({ specs, first, ask, progress, signal }) {
	const ways = specs.flatMap((spec) => [spec.min, spec.max].filter((end) => end !== spec.neutral).map((end) => ({ spec, end })));
	for (let step = 1; step <= STEPS; step++) {
		for (const [index, { spec, end }] of ways.entries()) {
			signal.throwIfAborted();
			const at = (/** @type {number} */ share) => onStep(spec, spec.neutral + share * (end - spec.neutral));
			const label = await ask(spec.name, at(step / STEPS));
			if (label !== first) return refined({ spec, at, ask, first, signal, unchanged: (step - 1) / STEPS, changed: step / STEPS, label });
			progress(((step - 1) * ways.length + index + 1) / (STEPS * ways.length));
		}
	}
	return null;
}

/**
 * @param {{ spec: Spec, at: (share: number) => number, ask: (name: string, value: number) => Promise<string>, first: string,
 *   signal: AbortSignal, unchanged: number, changed: number, label: string }} given
 * @returns {Promise<Found>}
 */
async function refined({ spec, at, ask, first, signal, unchanged, changed, label }) {
	for (let halving = 0; halving < HALVINGS; halving++) {
		const middle = (unchanged + changed) / 2;
		if (at(middle) === at(changed) || at(middle) === at(unchanged)) break;
		signal.throwIfAborted();
		const found = await ask(spec.name, at(middle));
		if (found === first) unchanged = middle;
		else [changed, label] = [middle, found];
	}
	return { spec, value: at(changed), label };
}

/** The nearest value that the slider can take. @param {Spec} spec @param {number} value */
function onStep({ min, max, step }, value) {
	const steps = Math.round((value - min) / step);
	return Math.min(max, Number((min + steps * step).toFixed(6)));
}
