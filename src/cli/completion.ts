// SPDX-License-Identifier: Apache-2.0
/** The scripts that make bash, zsh and fish ask `coffer __complete` at each TAB. Layer: cli. */
import type { SHELLS } from "./complete.ts";

export type Shell = (typeof SHELLS)[number];

// `coffer` stands as a word of the script, so that an alias of that name works as well as a command on the PATH.
const BASH = `# bash completion for coffer:  source <(coffer completion bash)
_coffer() {
  local line=\${COMP_LINE:0:COMP_POINT} entry lead=
  local -a typed answer
  read -ra typed <<<"$line"
  [[ $line == *[[:space:]] ]] && typed+=("")
  # A word may have an opening quote, which is not part of the name.
  local current=\${typed[\${#typed[@]}-1]#[\\"\\']}
  typed[\${#typed[@]}-1]=$current
  mapfile -t answer < <(coffer __complete -- "\${typed[@]:1}" 2>/dev/null)
  # bash breaks words at "@" and others of COMP_WORDBREAKS. What it puts the answer in place of is $2: the end of our word,
  # with its "@" (which COMP_WORDS has as a word of its own). All before that stays as typed.
  [[ $current == *"$2" ]] && lead=\${current%"$2"}
  COMPREPLY=()
  for entry in "\${answer[@]:1}"; do
    entry=\${entry%%$'\\t'*}
    [[ $entry == "$current"* ]] && COMPREPLY+=("$entry")
  done
  case \${answer[0]} in
    :files) compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$current") ;;
    :folders) compopt -o filenames 2>/dev/null; mapfile -t -O \${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$current") ;;
  esac
  COMPREPLY=("\${COMPREPLY[@]#"$lead"}")
}
complete -F _coffer coffer
`;

const ZSH = `#compdef coffer
# zsh completion for coffer:  source <(coffer completion zsh)   (after compinit)
_coffer() {
  local -a answer entries
  answer=("\${(@f)$(coffer __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  entries=("\${(@)answer[2,-1]//:/\\\\:}")
  entries=("\${(@)entries/$'\\t'/:}")
  entries=("\${(@)entries:#}")
  (( $#entries )) && _describe -t coffer 'coffer' entries
  case $answer[1] in
    :files) _files ;;
    :folders) _files -/ ;;
  esac
}
compdef _coffer coffer
`;

const FISH = `# fish completion for coffer:  coffer completion fish | source
function __coffer_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (coffer __complete -- $typed[2..-1] "$current" 2>/dev/null)
    switch "$answer[1]"
        case :files
            __fish_complete_path "$current"
        case :folders
            __fish_complete_directories "$current"
    end
    test (count $answer) -gt 1; and printf '%s\\n' $answer[2..-1]
end
complete -c coffer -f -a '(__coffer_complete)'
`;

/** @returns the text to be sourced */
export function completionScript(shell: Shell): string {
  return { bash: BASH, zsh: ZSH, fish: FISH }[shell];
}
