#!/usr/bin/env bash
# Downloads images into Data/Image_Data; --help shows the options. Run it again to resume.
exec "$(dirname "${BASH_SOURCE[0]}")/download_s3.sh" images Image_Data "$@"
