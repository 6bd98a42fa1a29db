# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tradingbot_agent_global_optspecs
    string join \n log-level= log-format= h/help V/version
end

function __fish_tradingbot_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tradingbot_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tradingbot_agent_using_subcommand
    set -l cmd (__fish_tradingbot_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -s V -l version -d 'Print version'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "run" -d 'Trade: on a laptop from a file, or in a pod made by the operator'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "check" -d 'Read a manifest and bars as the operator would and say whether they make a bot'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "explain" -d 'Show the configuration that a manifest makes, with the layer that each value comes from'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "trades" -d 'Show the closed trades of a journal or a running agent'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "decisions" -d 'Show the decisions of a journal or a running agent, or one of them with all that it saw'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "keys" -d 'Rotate the keys of a bot\'s API'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "replay" -d 'Make a decision again, from what it saw and from the journal\'s events, and compare'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "status" -d 'Show what a bot has and does, from its journal or a running agent'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "migrate" -d 'Bring the schema of a journal to this agent\'s version, or one back for the agent before'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "backup" -d 'Copy a journal into one file, also while its bot runs'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "restore" -d 'Prove a backup, and bring it back'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -s f -l file -d 'The bot\'s manifest, to run it here; other documents in it are passed over' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l data -d 'Recorded bars in the place of the manifest\'s ConfigMaps: a folder, a file, or PAIR@TIMEFRAME=FILE; may be repeated. Files of one pair are read in the order of their names' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l journal -d 'Folder of the journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass [default of `run`: ./NAME.journal]' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l journal-url -d 'File with the address of the journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l listen -d 'Address of the API; without --keys it must be this machine\'s own [default: 127.0.0.1:8000]' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l keys -d 'Folder with the API\'s keys: the files `read` and `trade`, one key a line' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l speed -d 'Seconds of market time per second, whatever the manifest says; 0 is as fast as possible' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l exit-at-end -d 'Stop when the data ends and show the result'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -l cluster -d 'Run in a pod made by the operator'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -s f -l file -d 'The bot\'s manifest; other documents in it are passed over' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -l data -d 'Bars to check as well: a folder, a file, or PAIR@TIMEFRAME=FILE; may be repeated' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand explain" -s f -l file -d 'The bot\'s manifest; other documents in it are passed over [default: the defaults alone]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand explain" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand explain" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand explain" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -s f -l file -d 'Manifest of a bot that runs here; its journal is ./NAME.journal' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l journal -d 'Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l journal-url -d 'File with the address of a journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l url -d 'Address of a running agent, such as http://127.0.0.1:8000' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l key-file -d 'File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l limit -d 'Show so many of the last trades' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand trades" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -s f -l file -d 'Manifest of a bot that runs here; its journal is ./NAME.journal' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l journal -d 'Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l journal-url -d 'File with the address of a journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l url -d 'Address of a running agent, such as http://127.0.0.1:8000' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l key-file -d 'File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l limit -d 'Show so many of the last decisions' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -f -a "show" -d 'Show everything that one decision saw, and what each check said'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and not __fish_seen_subcommand_from show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -s f -l file -d 'Manifest of a bot that runs here; its journal is ./NAME.journal' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l journal -d 'Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l journal-url -d 'File with the address of a journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l url -d 'Address of a running agent, such as http://127.0.0.1:8000' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l key-file -d 'File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show everything that one decision saw, and what each check said'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand decisions; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and not __fish_seen_subcommand_from rotate help" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and not __fish_seen_subcommand_from rotate help" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and not __fish_seen_subcommand_from rotate help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and not __fish_seen_subcommand_from rotate help" -f -a "rotate" -d 'Give the API new keys, without a pause: the keys before stay valid until the next rotation'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and not __fish_seen_subcommand_from rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l keys -d 'Folder that `run --keys` reads, for a bot that runs here; it is made when there is none' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s f -l file -d 'Manifest of a bot in a cluster: prints the commands that rotate its Secret, to be read and run' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l role -d 'Rotate this key alone' -r -f -a "read\t'Looking'
trade\t'Looking and acting'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -l revoke -d 'End the keys before at once, as after a leak'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Give the API new keys, without a pause: the keys before stay valid until the next rotation'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -s f -l file -d 'Manifest of a bot that runs here; its journal is ./NAME.journal' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l journal -d 'Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l journal-url -d 'File with the address of a journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l url -d 'Address of a running agent, such as http://127.0.0.1:8000' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l key-file -d 'File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -s f -l file -d 'Manifest of a bot that runs here; its journal is ./NAME.journal' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l journal -d 'Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l journal-url -d 'File with the address of a journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l url -d 'Address of a running agent, such as http://127.0.0.1:8000' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l key-file -d 'File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Tables for people'
json\t'JSON for programs'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -l journal -d 'Folder of the journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass [default of `run`: ./NAME.journal]' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -l journal-url -d 'File with the address of the journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -l back -d 'Take the newest version of the schema back, so that the agent before can use the journal'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand backup" -l journal -d 'Folder of the journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass [default of `run`: ./NAME.journal]' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand backup" -l journal-url -d 'File with the address of the journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand backup" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand backup" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -l journal -d 'Folder of the journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass [default of `run`: ./NAME.journal]' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -l journal-url -d 'File with the address of the journal\'s PostgreSQL database, password and all' -r -F
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -l log-level -d 'Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL' -r
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -l log-format -d 'Form of the log lines on standard error [default: text on a terminal, json elsewhere]' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -l verify -d 'Only prove it: a bot is recovered from it in a scratch folder and compared with what it was'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "run" -d 'Trade: on a laptop from a file, or in a pod made by the operator'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "check" -d 'Read a manifest and bars as the operator would and say whether they make a bot'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "explain" -d 'Show the configuration that a manifest makes, with the layer that each value comes from'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "trades" -d 'Show the closed trades of a journal or a running agent'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "decisions" -d 'Show the decisions of a journal or a running agent, or one of them with all that it saw'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "keys" -d 'Rotate the keys of a bot\'s API'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "replay" -d 'Make a decision again, from what it saw and from the journal\'s events, and compare'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "status" -d 'Show what a bot has and does, from its journal or a running agent'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "migrate" -d 'Bring the schema of a journal to this agent\'s version, or one back for the agent before'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "backup" -d 'Copy a journal into one file, also while its bot runs'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "restore" -d 'Prove a backup, and bring it back'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and not __fish_seen_subcommand_from run check explain trades decisions keys replay status migrate backup restore help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and __fish_seen_subcommand_from decisions" -f -a "show" -d 'Show everything that one decision saw, and what each check said'
complete -c tradingbot-agent -n "__fish_tradingbot_agent_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "rotate" -d 'Give the API new keys, without a pause: the keys before stay valid until the next rotation'
