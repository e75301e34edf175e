// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { transcript } from "../support/transcripts.ts";

const folder = new URL("./transcripts/", import.meta.url).pathname;
for (const name of readdirSync(folder).sort()) transcript(`${folder}${name}`);
