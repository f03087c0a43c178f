from idn_data.resize import imresize
