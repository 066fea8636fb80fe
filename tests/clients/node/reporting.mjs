// What a program does, one function a feature, and what came out, as one line of JSON.
export const WEATHER = "What is the weather in Paris?";
export const FRANCE = "What is the capital of France?";
export const NAME = "My name is Ada.";
export const WHO = "What is my name?";
export const CITY = "Describe the capital of France as a city.";
export const LONG = "word ".repeat(30_000);

export const [, , URL, CLIENT, ...wanted] = process.argv;
export const KEY = process.env.MUSTER_KEY ?? "none";
export const REFUSED = `Refuse this of [${CLIENT}].`;

/** Class and HTTP status of the error that `act` ends in. */
export async function statusOf(act) {
  try {
    await act();
  } catch (error) {
    return [error.constructor.name, error.status ?? error.statusCode ?? null];
  }
  return "no error";
}

/** Run the features that are named; print what each returned, or how it failed. */
export async function main(features) {
  const outcomes = {};
  for (const name of wanted) {
    try {
      outcomes[name] = { got: await features[name]() };
    } catch (error) {
      outcomes[name] = { failed: `${error.constructor.name}: ${String(error.message).slice(0, 600)}` };
    }
  }
  console.log("\n" + JSON.stringify(outcomes));
}
