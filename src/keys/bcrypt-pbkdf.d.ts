// SPDX-License-Identifier: Apache-2.0
/** Types of the one function that is used of bcrypt-pbkdf 1.0.2, which brings none. Layer: keys. */
declare module "bcrypt-pbkdf" {
  interface BcryptPbkdf {
    /** Fills `out[0..outLength)`; returns 0, or -1 for lengths or rounds that it does not take. */
    pbkdf(
      passphrase: Uint8Array,
      passphraseLength: number,
      salt: Uint8Array,
      saltLength: number,
      out: Uint8Array,
      outLength: number,
      rounds: number,
    ): number;
  }
  const bcrypt: BcryptPbkdf;
  export = bcrypt;
}
