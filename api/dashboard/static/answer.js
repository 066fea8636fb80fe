import { whenJudged } from "./feedback.js";

whenJudged(document);
