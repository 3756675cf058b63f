#!/usr/bin/env bash
# Downloads ratings of the study into Data/Prolific_Data; --help shows the options. Run it again to resume.
exec "$(dirname "${BASH_SOURCE[0]}")/download_s3.sh" study Prolific_Data "$@"
