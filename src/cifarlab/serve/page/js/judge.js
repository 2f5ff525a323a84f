// @ts-check
/** From logits to what is shown, as cifarlab.bundle.predictor and cifarlab.bundle.calibration do it in Python. */

/**
 * @param {ArrayLike<number>} logits K values
 * @param {{ classes: string[], tta: string, calibration: { score: string, views: Record<string, { temperature: number, threshold: number }> } | null }} description
 * @returns {{ label: string, predictions: { label: string, probability: number }[], unlike: boolean | null, score: number | null }}
 *   all classes, best first; unlike: null where the model has no threshold
 */
export function judge(logits, { classes, tta, calibration }) {
	const values = Array.from(logits);
	if (values.length !== classes.length || !values.every(Number.isFinite)) {
		throw new Error("The model gives values that are not finite or too few: its file is damaged. Export the site again");
	}
	const fitted = calibration?.views[tta] ?? null;
	const probabilities = softmax(values, fitted?.temperature ?? 1);
	const predictions = classes.map((label, at) => ({ label, probability: probabilities[at] })).sort((a, b) => b.probability - a.probability);
	const score = calibration && fitted ? unlikeness(calibration.score, values) : null;
	return { label: predictions[0].label, predictions, unlike: score === null || !fitted ? null : score > fitted.threshold, score };
}

/** softmax(logits / temperature). @param {number[]} logits @param {number} [temperature] */
export function softmax(logits, temperature = 1) {
	const scaled = logits.map((value) => value / temperature);
	const peak = Math.max(...scaled);
	const powers = scaled.map((value) => Math.exp(value - peak));
	const sum = powers.reduce((total, value) => total + value, 0);
	return powers.map((value) => value / sum);
}

/**
 * How unlike the training data; more is more unlike. "energy": -logsumexp of the logits (Liu et al., 2020, arXiv 2010.03759,
 * eq. 3); "max-probability": minus the largest softmax probability (Hendrycks and Gimpel, 2017, arXiv 1610.02136).
 * @param {string} score @param {number[]} logits
 */
export function unlikeness(score, logits) {
	if (score === "max-probability") return -Math.max(...softmax(logits));
	if (score !== "energy") throw new Error(`bundle.json names a score that this page does not know: ${score}`);
	const peak = Math.max(...logits);
	return -(peak + Math.log(logits.reduce((total, value) => total + Math.exp(value - peak), 0)));
}
