#!/usr/bin/env bash
# Downloads activations into Data/Clip_Activation_Layer; --help shows the options. Run it again to resume.
exec "$(dirname "${BASH_SOURCE[0]}")/download_s3.sh" activations Clip_Activation_Layer "$@"
